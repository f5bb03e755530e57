// A check by several processes finds the same faults as a check by one process, and no process reads memory
// that is not its part. The processes are threads here.
#include "moehill/moe/check_share.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <barrier>
#include <limits>
#include <thread>

#include "moehill/moe/block_fixture.h"
#include "moehill/moe/check.h"

namespace moehill {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

// The messages of all processes, [to][from].
struct Mailbox {
  explicit Mailbox(int size) : messages(static_cast<size_t>(size)), met(size) {
    for (auto& of_one : messages) of_one.resize(messages.size());
  }
  std::vector<std::vector<std::string>> messages;
  std::barrier<> met;
};

class ThreadPeers final : public CheckPeers {
 public:
  ThreadPeers(Mailbox& mailbox, int rank) : mailbox_(mailbox), rank_(rank) {}
  int rank() const override { return rank_; }
  int size() const override { return static_cast<int>(mailbox_.messages.size()); }
  std::vector<std::string> exchange(const std::vector<std::string_view>& messages) override {
    for (size_t r = 0; r < messages.size(); ++r)
      mailbox_.messages[r][static_cast<size_t>(rank_)] = std::string(messages[r]);
    mailbox_.met.arrive_and_wait();
    std::vector<std::string> came = mailbox_.messages[static_cast<size_t>(rank_)];
    mailbox_.met.arrive_and_wait();
    return came;
  }

 private:
  Mailbox& mailbox_;
  int rank_;
};

void spoil(const LogicalWeights& w, int64_t group) {
  for (int64_t r = 0; r < w.rows(); ++r) {
    for (int64_t c = 0; c < w.num_columns; ++c) w.set(group, r, c, kNaN);
  }
}

void spoil_expert(const BlockWeights& w, int expert) {
  for (const LogicalWeights* m : {&w.w1, &w.w2, &w.w3, &w.b1, &w.b2, &w.b3}) spoil(*m, expert);
}

// Rows of x and y are NaN, except the rows of the own tokens and the rows that were brought.
class ThreadRows final : public CheckRows {
 public:
  ThreadRows(const BlockTensors& tensors, Range own) : x_(tensors.x), y_(tensors.y), own_(own) {
    for (int64_t t = 0; t < x_.rows; ++t) {
      for (const MatView* m : {&x_, &y_}) {
        for (int64_t c = 0; c < m->cols; ++c) values_.push_back(m->at(t, c));
      }
    }
  }
  void bring(const TokensOfProcesses& tokens_of) override { fill(tokens_of[static_cast<size_t>(rank)]); }
  void fill(const std::vector<int64_t>& tokens) {
    for (int64_t t = 0; t < x_.rows; ++t) {
      const bool here = (own_.begin <= t && t < own_.end) || std::ranges::binary_search(tokens, t);
      auto value = values_.begin() + t * 2 * x_.cols;
      for (const MatView* m : {&x_, &y_}) {
        for (int64_t c = 0; c < m->cols; ++c, ++value) m->set(t, c, here ? *value : kNaN);
      }
    }
  }
  int rank = 0;

 private:
  MatView x_, y_;
  Range own_;
  std::vector<float> values_;
};

// Fills everything that other processes have.
void spoil_others(const CheckShare& share, BlockFixture& fixture) {
  const BlockTensors& t = share.tensors;
  for (int e = 0; e < t.shape.experts; ++e) {
    if (share.has_expert(e)) continue;
    spoil_expert(t.weights, e);
    spoil_expert(t.gradients, e);
  }
  const auto spoil_rows = [&](std::vector<float>& values) {
    const int64_t cols = std::ssize(values) / t.shape.tokens;
    for (int64_t i = 0; i < std::ssize(values); ++i) {
      if (!share.has_token(i / cols)) values[static_cast<size_t>(i)] = kNaN;
    }
  };
  spoil_rows(fixture.dp());
  spoil_rows(fixture.dlogits());
  for (int64_t row = 0; row < t.shape.tokens; ++row) {
    for (int64_t c = 0; !share.has_token(row) && c < t.shape.hidden; ++c) t.dx.set(row, c, kNaN);
  }
}

using Plant = std::function<void(const BlockTensors&)>;

// Returns tensors whose rows passed the wire for two of three assignments; `far` keeps which ones.
BlockTensors passed_by(Wire wire, BlockTensors tensors, std::vector<uint8_t>& far) {
  for (int64_t a = 0; a < tensors.shape.assignments(); ++a) far.push_back(a % 3 != 0);
  tensors.wire = wire;
  tensors.far = wire == Wire::native ? nullptr : far.data();
  return tensors;
}

// The shares are uneven: the last process has the first experts, and one process may have nothing.
CheckResult check_by(int num_processes, const MoeShape& shape, CheckMode mode, const Plant& plant,
                     Wire wire = Wire::native) {
  Mailbox mailbox(num_processes);
  std::vector<CheckResult> results(static_cast<size_t>(num_processes));
  std::vector<std::thread> processes;
  for (int rank = 0; rank < num_processes; ++rank) {
    processes.emplace_back([&, rank] {
      ThreadTeam team(1 + rank % 2);
      BlockFixture fixture(shape);
      fixture.store_oracle(team);
      plant(fixture.tensors());
      ThreadPeers peers(mailbox, rank);
      std::vector<uint8_t> far;
      CheckShare share{passed_by(wire, fixture.tensors(), far), {}, {}, &peers};
      for (int r = 0; r < num_processes; ++r)
        share.tokens.push_back(moehill::share(shape.tokens * shape.tokens, r, num_processes));
      for (Range& tokens : share.tokens) tokens = {tokens.begin / shape.tokens, tokens.end / shape.tokens};
      for (int e = 0; e < shape.experts; ++e)
        share.owner.push_back(num_processes - 1 - e * num_processes / shape.experts);
      spoil_others(share, fixture);
      const auto rows = std::make_shared<ThreadRows>(share.tensors, share.own_tokens());
      rows->rank = rank;
      rows->fill({});
      share.rows = rows;
      results[static_cast<size_t>(rank)] = check_block(share, Pass::forward_backward, mode, 5, team);
    });
  }
  for (std::thread& process : processes) process.join();
  return results.front();
}

CheckResult check_alone(const MoeShape& shape, CheckMode mode, const Plant& plant, Wire wire = Wire::native) {
  ThreadTeam team(2);
  BlockFixture fixture(shape);
  fixture.store_oracle(team);
  plant(fixture.tensors());
  std::vector<uint8_t> far;
  return check_block(passed_by(wire, fixture.tensors(), far), Pass::forward_backward, mode, 5, team);
}

std::vector<MoeShape> shapes() {
  MoeShape plain{203, 20, 19, 5, 2, 13, DType::f32};
  MoeShape forms = plain;
  forms.dtype = DType::bf16;
  forms.form = parse_expert_form("silu,biases,shared-gate");
  return {plain, forms, {150, 40, 300, 6, 2, 700, DType::f32}, {3, 20, 19, 5, 2, 0, DType::f32}};
}

const Plant kNothing = [](const BlockTensors&) {};

TEST(CheckShare, SeveralProcessesFindWhatOneDoes) {
  for (const MoeShape& shape : shapes()) {
    for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
      const CheckResult alone = check_alone(shape, mode, kNothing);
      for (const int num_processes : {2, 3, 7}) {
        const CheckResult result = check_by(num_processes, shape, mode, kNothing);
        EXPECT_EQ(result.status, alone.status) << result.reason;
        EXPECT_EQ(result.reason, alone.reason);
        EXPECT_EQ(result.what, alone.what);
        EXPECT_EQ(result.num_rows, alone.num_rows);
        EXPECT_EQ(result.num_sampled_rows, alone.num_sampled_rows);
        EXPECT_EQ(result.worst_number, alone.worst_number);
        EXPECT_NEAR(result.worst_bounds, alone.worst_bounds, 0.02);
        EXPECT_EQ(result.worst_row, alone.worst_row);
        EXPECT_NEAR(result.forward_rel_err, alone.forward_rel_err, 1e-9);
        ASSERT_EQ(result.grad_rel_err.size(), alone.grad_rel_err.size());
        for (const auto& [tensor, error] : alone.grad_rel_err)
          EXPECT_NEAR(result.grad_rel_err.at(tensor), error, 1e-9) << tensor;
      }
    }
  }
}

TEST(CheckShare, SeveralProcessesFindTheWiresErrorThatOneDoes) {
  const MoeShape shape = shapes()[0];
  for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
    const WireError alone = check_alone(shape, mode, kNothing, Wire::bf16).wire;
    EXPECT_GT(alone.y_rms, 1e-4);
    for (const int num_processes : {2, 3, 7}) {
      const WireError error = check_by(num_processes, shape, mode, kNothing, Wire::bf16).wire;
      EXPECT_EQ(error.tokens, alone.tokens);
      EXPECT_NEAR(error.y_max, alone.y_max, 1e-9);
      EXPECT_NEAR(error.y_rms, alone.y_rms, 1e-9);
      EXPECT_NEAR(error.dx_max, alone.dx_max, 1e-9);
      EXPECT_NEAR(error.dx_rms, alone.dx_rms, 1e-9);
    }
  }
}

TEST(CheckShare, ExpertsNeedTheTokensThatTheyCompute) {
  BlockFixture fixture({4, 4, 4, 3, 2, 0, DType::f32});
  fixture.routing().expert = {0, 1, 2, 0, 1, 2, kNoExpert, 2};
  const auto tokens = [&](const std::vector<int>& experts) {
    return tokens_of_experts(fixture.tensors(), experts);
  };
  using Tokens = std::vector<int64_t>;
  EXPECT_EQ(tokens({}), Tokens{});
  EXPECT_EQ(tokens({0}), (Tokens{0, 1}));
  EXPECT_EQ(tokens({2}), (Tokens{1, 2, 3}));
  EXPECT_EQ(tokens({0, 1, 2}), (Tokens{0, 1, 2, 3}));
  fixture.kept() = {0, 1, 1, 1, 1, 0, 1, 1};  // expert 0 without token 0, expert 2 without token 2
  EXPECT_EQ(tokens({0}), (Tokens{1}));
  EXPECT_EQ(tokens({2}), (Tokens{1, 3}));
}

// Each process names the first of its experts with a fault.
std::string first_of(const CheckResult& result) { return result.reason.substr(0, result.reason.find(';')); }

// The faults are in the parts of each process in turn.
TEST(CheckShare, FaultsOfEveryProcessAreFound) {
  const MoeShape shape = shapes()[0];
  const auto twice = [](const LogicalWeights& w, int64_t group) {
    for (int64_t c = 0; c < w.num_columns; ++c) w.set(group, 3, c, 2 * w.at(group, 3, c));
  };
  std::vector<std::pair<std::string, Plant>> faults;
  for (int e = 0; e < shape.experts; ++e) {
    faults.emplace_back("dw1", [=](const BlockTensors& t) { twice(t.gradients.w1, e); });
    faults.emplace_back("dw2", [=](const BlockTensors& t) { twice(t.gradients.w2, e); });
    faults.emplace_back("dw3", [=](const BlockTensors& t) { twice(t.gradients.w3, e); });
  }
  faults.emplace_back("ds1", [=](const BlockTensors& t) { twice(t.gradients.s1, 0); });
  faults.emplace_back("ds2", [=](const BlockTensors& t) { twice(t.gradients.s2, 0); });
  for (const int64_t token : {0, 70, 140, 202}) {
    faults.emplace_back("y", [=](const BlockTensors& t) { t.y.set(token, 2, 0.5f + t.y.at(token, 2)); });
    faults.emplace_back("dx", [=](const BlockTensors& t) { t.dx.set(token, 2, 1.5f * t.dx.at(token, 2)); });
    faults.emplace_back("dp", [=](const BlockTensors& t) { const_cast<float*>(t.dp)[2 * token] *= 1.5f; });
    faults.emplace_back(
        "dlogits", [=](const BlockTensors& t) { const_cast<float*>(t.dlogits)[5 * token + 1] += 1e-3f; });
  }
  for (const auto& [tensor, plant] : faults) {
    for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
      const CheckResult result = check_by(4, shape, mode, plant);
      EXPECT_EQ(result.status, CheckStatus::failed) << tensor;
      EXPECT_NE(result.reason.find(tensor + " "), std::string::npos) << tensor << ": " << result.reason;
      EXPECT_EQ(first_of(result), first_of(check_alone(shape, mode, plant)));
    }
  }
}

// CountingPeers counts the exchanges of a single process, which gets what it sends.
class CountingPeers final : public CheckPeers {
 public:
  int rank() const override { return 0; }
  int size() const override { return 1; }
  std::vector<std::string> exchange(const std::vector<std::string_view>& messages) override {
    ++num_exchanges;
    return {messages.begin(), messages.end()};
  }
  int num_exchanges = 0;
};

// Sixteen million bytes are in two pieces or more, few rows in one, and no rows in none.
TEST(CheckShare, SumsRowsInFewPieces) {
  const auto pieces = [](int64_t rows, int64_t cols) {
    std::vector<double> values(static_cast<size_t>(rows * cols));
    for (size_t i = 0; i < values.size(); ++i) values[i] = static_cast<double>(i);
    std::vector<double> sums = values;
    CountingPeers peers;
    const CheckShare share{BlockTensors{}, {{0, rows}}, {}, &peers};
    sum_rows(share, share.tokens, {{sums.data(), cols}});
    EXPECT_EQ(sums, values);
    return peers.num_exchanges;
  };
  EXPECT_EQ(pieces(0, 3), 0);
  EXPECT_EQ(pieces(5, 3), 1);
  EXPECT_GE(pieces(2000000, 1), 2);
  EXPECT_LE(pieces(2000000, 1), 4);
}

TEST(Parcel, BringsBackWhatWasPutIn) {
  int64_t number = 5;
  std::string text = "text", nothing;
  std::vector<double> values = {1, 2, 3};
  Parcel sent;
  sent(number), sent(text), sent(nothing), sent(values);
  Parcel came(sent.bytes());
  number = 0;
  text = "other text", nothing = "something", values = {4};
  came(number), came(text), came(nothing), came(values);
  EXPECT_EQ(number, 5);
  EXPECT_EQ(text, "text");
  EXPECT_EQ(nothing, "");
  EXPECT_EQ(values, (std::vector<double>{1, 2, 3}));
  EXPECT_DEATH(came(number), "of a parcel");
}

}  // namespace
}  // namespace moehill
