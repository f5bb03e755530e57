// Tests that rows which arrive in waves give the same results, bit for bit, as rows that are there from the
// start. A made-up transfer brings each row with the first wave that needs it, keeps what leaves, and lets
// any waves be late.
#include "moehill/moe/block.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/rng.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

constexpr int64_t kTokens = 40, kHidden = 24, kFirstOwn = 25;
constexpr int kExperts = 6, kWaves = 3, kTopk = 2;

float value(Stream stream, int64_t i) {
  return static_cast<float>(random_normal(1, stream, static_cast<uint64_t>(i)));
}

std::vector<float> values_of(const MatView& m) {
  std::vector<float> values;
  for (int64_t r = 0; r < m.rows; ++r) values.insert(values.end(), m.row<float>(r), m.row<float>(r) + m.cols);
  return values;
}

void copy_row(const MatView& from, int64_t r, const MatView& to) {
  std::copy_n(from.row<float>(r), from.cols, to.row<float>(r));
}

void set_all(const MatView& m, float v) {
  for (int64_t r = 0; r < m.rows; ++r) std::fill_n(m.row<float>(r), m.cols, v);
}

// The rows of tokens from kFirstOwn on are there. `late` has a bit for each wave that has not arrived when it
// is asked for.
class MadeUpTransfer final : public RowTransfer {
 public:
  MadeUpTransfer(const MatView& rows, const MatView& seen, const MatView& sums, const Routing& routing,
                 int late)
      : rows_(rows), seen_(seen), sums_(sums), late_(late) {
    for (int64_t t = 0; t < kTokens; ++t) {
      const auto wave = [&](int j) {
        return routing.expert[static_cast<size_t>(t * kTopk + j)] / (kExperts / kWaves);
      };
      first_.push_back(std::min(wave(0), wave(1)));
      last_.push_back(std::max(wave(0), wave(1)));
      order_.push_back(static_cast<int32_t>(t));
    }
    const auto last = [&](int32_t t) { return last_[static_cast<size_t>(t)]; };
    std::ranges::stable_sort(order_.begin(), order_.begin() + kFirstOwn, {}, last);
    for (int w = 0; w < kWaves; ++w) {
      const auto wave = std::ranges::equal_range(order_.begin(), order_.begin() + kFirstOwn, w, {}, last);
      leaving_.push_back({wave.begin() - order_.begin(), wave.end() - order_.begin()});
    }
    own = {kFirstOwn, kTokens};
    split = true;
    experts = experts_;
    token_of = order_.data();
    leaving = leaving_;
    set_all(seen, std::numeric_limits<float>::quiet_NaN());
    set_all(sums, std::numeric_limits<float>::quiet_NaN());
    for (int64_t t = kFirstOwn; t < kTokens; ++t) copy_row(rows, t, seen);
  }
  bool has_arrived(int wave) override { return (late_ >> wave) % 2 == 0; }
  void arrive(int wave) override {
    EXPECT_EQ(wave, num_arrived_++);
    for (int64_t t = 0; t < kFirstOwn; ++t) {
      if (first_[static_cast<size_t>(t)] == wave) copy_row(rows_, t, seen_);
    }
  }
  void leave(int wave) override {
    EXPECT_EQ(wave, num_left_++);
    const Range rows = leaving_[static_cast<size_t>(wave)];
    const std::vector<float> values = values_of(sums_.slice_rows(rows.begin, rows.end));
    sent_.insert(sent_.end(), values.begin(), values.end());
  }
  // Reads the sums of each token: the sums for other devices as they left, and the own sums where they are.
  std::vector<float> sums() const {
    EXPECT_EQ(num_left_, kWaves);
    const std::vector<float> own_sums = values_of(sums_.slice_rows(own.begin, own.end));
    std::vector<float> by_place = sent_, by_token(sent_.size() + own_sums.size());
    by_place.insert(by_place.end(), own_sums.begin(), own_sums.end());
    for (size_t i = 0; i < order_.size(); ++i)
      std::copy_n(by_place.begin() + static_cast<int64_t>(i) * kHidden, kHidden,
                  by_token.begin() + order_[i] * kHidden);
    return by_token;
  }

 private:
  MatView rows_, seen_, sums_;
  int late_, num_arrived_ = 0, num_left_ = 0;
  std::vector<int64_t> experts_ = {0, 2, 4, 6};
  std::vector<int> first_, last_;
  std::vector<int32_t> order_;
  std::vector<Range> leaving_;
  std::vector<float> sent_;
};

class BlockWaves : public testing::Test {
 protected:
  BlockWaves() {
    for (const MatView& m : {x_.view(), y_.view()}) {
      for (int64_t i = 0; i < kTokens * kHidden; ++i) m.set(i / kHidden, i % kHidden, value(Stream::kX, i));
    }
    for (WeightStack* stack : {&up_, &down_}) {
      const WeightView view = *stack;
      const int64_t n = static_cast<int64_t>(view.bytes() / sizeof(float));
      for (int64_t i = 0; i < n; ++i) static_cast<float*>(view.data)[i] = value(Stream::kW1, i);
    }
    std::vector<float> logits(kTokens * kExperts);
    for (size_t i = 0; i < logits.size(); ++i) logits[i] = value(Stream::kLogits, static_cast<int64_t>(i));
    routing_ = route_topk(logits, kTokens, kExperts, kTopk);
    weights_.routed.fused = weights_.routed_grad.fused = true;
    weights_.routed.up[0] = up_;
    weights_.routed.down = down_;
    weights_.routed_grad.up[0] = up_grad_;
    weights_.routed_grad.down = down_grad_;
    block_.make_plan(team_, routing_);
  }

  BlockPass forward_pass() { return {.team = team_, .weights = weights_, .x = x_, .out = out_}; }
  BlockPass backward_pass() {
    BlockPass pass = forward_pass();
    pass.y = y_;
    pass.dy_scale = 0.5f;
    pass.dp = dp_.data();
    return pass;
  }
  std::vector<char> gradients() const {
    std::vector<char> bytes;
    weights_.routed_grad.visit([&](void* data, size_t n) {
      bytes.insert(bytes.end(), static_cast<char*>(data), static_cast<char*>(data) + n);
      std::fill_n(static_cast<char*>(data), n, '\xff');  // for the next wave
    });
    return bytes;
  }

  static constexpr int64_t kWidth = 16;
  WeightStack stack(int64_t rows, int64_t columns) const {
    return {WeightLayout::panels, kExperts, rows, columns, DType::f32};
  }
  const BlockSpec spec_{{kTokens, kHidden, kWidth, kExperts, kTopk, 0, DType::f32}, {}, {0, kExperts, {}}, 2};
  ThreadTeam team_{2};
  Block block_{spec_};
  Matrix x_{kTokens, kHidden, DType::f32}, y_{kTokens, kHidden, DType::f32},
      seen_{kTokens, kHidden, DType::f32}, out_{kTokens, kHidden, DType::f32};
  WeightStack up_ = stack(kHidden, gate_up_columns(kWidth)), down_ = stack(kWidth, kHidden);
  WeightStack up_grad_ = stack(kHidden, gate_up_columns(kWidth)), down_grad_ = stack(kWidth, kHidden);
  ExpertWeights weights_;
  Routing routing_;
  std::vector<float> dp_ = std::vector<float>(kTokens * kTopk);
};

TEST_F(BlockWaves, ForwardHasTheBitsOfRowsThatAreThere) {
  BlockPass pass = forward_pass();
  block_.forward_routed(pass);
  const std::vector<float> expected = values_of(out_);
  EXPECT_FALSE(std::ranges::any_of(expected, [](float v) { return std::isnan(v); }));
  for (int late = 0; late < 1 << kWaves; ++late) {
    MadeUpTransfer transfer(x_, seen_, out_, routing_, late);
    pass.x = seen_;
    pass.transfer = &transfer;
    block_.forward_routed(pass);
    EXPECT_EQ(transfer.sums(), expected) << "late " << late;
  }
}

TEST_F(BlockWaves, BackwardHasTheBitsOfRowsThatAreThere) {
  block_.forward_routed(forward_pass());
  BlockPass pass = backward_pass();
  block_.backward_routed(pass);
  const std::vector<float> expected = values_of(out_), expected_dp = dp_;
  const std::vector<char> expected_gradients = gradients();
  for (int late = 0; late < 1 << kWaves; ++late) {
    block_.forward_routed(forward_pass());
    std::fill(dp_.begin(), dp_.end(), 0.0f);
    MadeUpTransfer transfer(y_, seen_, out_, routing_, late);
    pass.y = seen_;
    pass.transfer = &transfer;
    block_.backward_routed(pass);
    EXPECT_EQ(transfer.sums(), expected) << "late " << late;
    EXPECT_EQ(dp_, expected_dp) << "late " << late;
    EXPECT_EQ(gradients(), expected_gradients) << "late " << late;
  }
}

// A form whose rows cannot be split waits for all rows and sends all sums at the end.
TEST_F(BlockWaves, AFormWithoutAnOrderOfTokensTakesAllAtOnce) {
  BlockSpec spec = spec_;
  spec.options.impl = Impl::fast;
  ASSERT_FALSE(spec.can_split_rows());
  struct Counts final : RowTransfer {
    Counts() { split = true; }
    void arrive(int wave) override { arrived.push_back(wave); }
    void leave(int wave) override { left.push_back(wave); }
    std::vector<int> arrived, left;
  } counts;
  const std::vector<int64_t> experts = {0, 2, 4, 6};
  counts.experts = experts;
  Block block(spec);
  block.make_plan(team_, routing_);
  BlockPass pass = forward_pass();
  pass.transfer = &counts;
  block.forward_routed(pass);
  EXPECT_EQ(counts.arrived, std::vector<int>{kWaves - 1});
  EXPECT_EQ(counts.left, std::vector<int>{kWaves - 1});
}

}  // namespace
}  // namespace moehill
