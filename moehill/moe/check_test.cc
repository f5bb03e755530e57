// The check must pass right results, in every layout, and must fail for every fault that is put into the
// data.
#include "moehill/moe/check.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <bit>
#include <functional>
#include <limits>
#include <set>
#include <tuple>

#include "moehill/moe/block_fixture.h"
#include "moehill/moe/check_selection.h"

namespace moehill {
namespace {

constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();

MoeShape odd_shape(DType dtype) { return {203, 20, 19, 5, 2, 13, dtype}; }

CheckResult check(const BlockFixture& fixture, ThreadTeam& team, CheckMode mode = CheckMode::full,
                  Pass pass = Pass::forward_backward) {
  return check_block(fixture.tensors(), pass, mode, 5, team);
}

void scale_row(const MatView& m, int64_t row, float factor) {
  for (int64_t c = 0; c < m.cols; ++c) m.set(row, c, factor * m.at(row, c));
}

void swap_rows(const MatView& m, int64_t a, int64_t b) {
  for (int64_t c = 0; c < m.cols; ++c) {
    const float value = m.at(a, c);
    m.set(a, c, m.at(b, c));
    m.set(b, c, value);
  }
}

// Replaces every element (group, row, column) of the groups [begin, end) by f of its place and value.
using Change = std::function<float(int64_t, int64_t, int64_t, float)>;
void change_groups(const LogicalWeights& w, int64_t begin, int64_t end, const Change& f) {
  for (int64_t g = begin; g < end; ++g) {
    for (int64_t r = 0; r < w.rows(); ++r) {
      for (int64_t n = 0; n < w.num_columns; ++n) w.set(g, r, n, f(g, r, n, w.at(g, r, n)));
    }
  }
}

void swap_matrices(const LogicalWeights& a, const LogicalWeights& b, int64_t group_a, int64_t group_b) {
  for (int64_t r = 0; r < a.rows(); ++r) {
    for (int64_t n = 0; n < a.num_columns; ++n) {
      const float value = a.at(group_a, r, n);
      a.set(group_a, r, n, b.at(group_b, r, n));
      b.set(group_b, r, n, value);
    }
  }
}

// Returns the y of the shared expert only: the difference of the oracle's blocks with and without it.
std::vector<double> shared_output(const BlockTensors& t, ThreadTeam& team) {
  BlockTensors without = t;
  without.shape.shared_dim = 0;
  std::vector<double> y = run_oracle(t, false, nullptr, team).y;
  const std::vector<double> routed = run_oracle(without, false, nullptr, team).y;
  for (size_t i = 0; i < y.size(); ++i) y[i] -= routed[i];
  return y;
}

struct PlantedFault {
  std::string name;
  std::string tensor;  // the check must see the fault here
  std::function<void(BlockFixture&, const BlockTensors&, ThreadTeam&)> plant;
};

using F = BlockFixture;
using T = BlockTensors;

std::vector<PlantedFault> faults_of_y() {
  return {
      {"OneTokenLost", "y", [](F&, const T& t, ThreadTeam&) { scale_row(t.y, 117, 0); }},
      {"NeighboursSwapped", "y", [](F&, const T& t, ThreadTeam&) { swap_rows(t.y, 50, 51); }},
      {"OffByOneRow", "y",
       [](F&, const T& t, ThreadTeam&) {
         for (int64_t r = 0; r + 1 < t.y.rows; ++r) swap_rows(t.y, r, r + 1);
       }},
      {"AllZero", "y",
       [](F&, const T& t, ThreadTeam&) {
         for (int64_t r = 0; r < t.y.rows; ++r) scale_row(t.y, r, 0);
       }},
      {"ScaledByThreeHundredths", "y", [](F&, const T& t, ThreadTeam&) { scale_row(t.y, 0, 1.03f); }},
      {"NaNInOnePlace", "y", [](F&, const T& t, ThreadTeam&) { t.y.set(202, 3, kNoNumber); }},
      {"OneElementWrong", "y", [](F&, const T& t, ThreadTeam&) { t.y.set(80, 7, t.y.at(80, 7) + 0.5f); }},
      {"TailColumnLost", "y",
       [](F&, const T& t, ThreadTeam&) {
         for (int64_t r = 0; r < t.y.rows; ++r) t.y.set(r, t.y.cols - 1, 0);
       }},
      {"SharedCountedTwice", "y",
       [](F&, const T& t, ThreadTeam& team) {
         const std::vector<double> shared = shared_output(t, team);
         for (int64_t r = 0; r < t.y.rows; ++r) {
           for (int64_t c = 0; c < t.y.cols; ++c)
             t.y.set(r, c, t.y.at(r, c) + static_cast<float>(shared[static_cast<size_t>(r * t.y.cols + c)]));
         }
       }},
      {"ExpertMissing", "y",
       [](F& f, const T& t, ThreadTeam& team) {
         const Routing whole = f.routing();
         for (size_t a = 0; a < whole.expert.size(); ++a) {
           if (whole.expert[a] == 2) f.routing().weight[a] = 0;
         }
         const std::vector<double> y = run_oracle(t, false, nullptr, team).y;
         for (size_t i = 0; i < y.size(); ++i) {
           const int64_t element = static_cast<int64_t>(i);
           t.y.set(element / t.y.cols, element % t.y.cols, static_cast<float>(y[i]));
         }
         f.routing() = whole;
       }},
  };
}

std::vector<PlantedFault> faults_of_token_gradients() {
  return {
      {"DxOfOneTokenZero", "dx", [](F&, const T& t, ThreadTeam&) { scale_row(t.dx, 9, 0); }},
      {"DxSignWrong", "dx", [](F&, const T& t, ThreadTeam&) { scale_row(t.dx, 202, -1); }},
      {"DxInfinite", "dx",
       [](F&, const T& t, ThreadTeam&) { t.dx.set(0, 0, std::numeric_limits<float>::infinity()); }},
      {"DpNotScaled", "dp",
       [](F& f, const T& t, ThreadTeam&) {
         for (float& dp : f.dp()) dp *= static_cast<float>(t.y.rows * t.y.cols) / 2;
       }},
      {"DpOfOneTokenSwapped", "dp", [](F& f, const T&, ThreadTeam&) { std::swap(f.dp()[40], f.dp()[41]); }},
      {"DpOfOneTokenLost", "dp", [](F& f, const T&, ThreadTeam&) { f.dp()[100] = f.dp()[101] = 0; }},
      {"DlogitsAtTheWrongExpert", "dlogits",
       [](F& f, const T& t, ThreadTeam&) {
         float* row = f.dlogits().data() + 30 * t.shape.experts;
         std::rotate(row, row + 1, row + t.shape.experts);
       }},
  };
}

std::vector<PlantedFault> faults_of_weight_gradients() {
  return {
      {"Dw1AndDw3Swapped", "dw1",
       [](F&, const T& t, ThreadTeam&) { swap_matrices(t.gradients.w1, t.gradients.w3, 4, 4); }},
      {"ExpertsSwapped", "dw2",
       [](F&, const T& t, ThreadTeam&) { swap_matrices(t.gradients.w2, t.gradients.w2, 0, 1); }},
      {"Dw2Transposed", "dw2",
       [](F&, const T& t, ThreadTeam&) {
         // Only the square part is changed: dW2 is [19, 20].
         for (int64_t r = 0; r < 19; ++r) {
           for (int64_t n = 0; n < r; ++n) {
             const float value = t.gradients.w2.at(3, r, n);
             t.gradients.w2.set(3, r, n, t.gradients.w2.at(3, n, r));
             t.gradients.w2.set(3, n, r, value);
           }
         }
       }},
      {"Dw3OfOneExpertMissing", "dw3",
       [](F&, const T& t, ThreadTeam&) {
         change_groups(t.gradients.w3, 1, 2, [](int64_t, int64_t, int64_t, float) { return 0.0f; });
       }},
      {"Dw1TailColumnLost", "dw1",
       [](F&, const T& t, ThreadTeam&) {
         change_groups(t.gradients.w1, 0, 5,
                       [](int64_t, int64_t, int64_t n, float v) { return n == 18 ? 0 : v; });
       }},
      {"Dw1LastRowLost", "dw1",
       [](F&, const T& t, ThreadTeam&) {
         change_groups(t.gradients.w1, 4, 5,
                       [](int64_t, int64_t r, int64_t, float v) { return r == 19 ? 0 : v; });
       }},
      {"Dw2NaN", "dw2", [](F&, const T& t, ThreadTeam&) { t.gradients.w2.set(2, 5, 5, kNoNumber); }},
      {"Dw2MissesTheLastRowOfItsGroup", "dw2",
       [](F& f, const T& t, ThreadTeam& team) {
         const std::vector<int32_t>& expert = f.routing().expert;
         const int64_t last = std::find(expert.rbegin(), expert.rend(), 0).base() - 1 - expert.begin();
         f.kept().assign(expert.size(), 1);
         f.kept()[static_cast<size_t>(last)] = 0;
         const ExpertGradients d =
             run_oracle_expert(f.tensors(), 0, indices_up_to(19), f.stored_loss_gradient().data(), team);
         f.kept().clear();
         change_groups(t.gradients.w2, 0, 1, [&](int64_t, int64_t r, int64_t n, float) {
           return static_cast<float>(d.dw2.row(r)[n]);
         });
       }},
      {"Ds1Doubled", "ds1",
       [](F&, const T& t, ThreadTeam&) {
         change_groups(t.gradients.s1, 0, 1, [](int64_t, int64_t, int64_t, float v) { return 2 * v; });
       }},
      {"Ds2OneElementWrong", "ds2",
       [](F&, const T& t, ThreadTeam&) { t.gradients.s2.set(0, 12, 19, t.gradients.s2.at(0, 12, 19) + 1); }},
      {"Ds3RowsSwapped", "ds3",
       [](F&, const T& t, ThreadTeam&) {
         for (int64_t n = 0; n < 13; ++n) {
           const float value = t.gradients.s3.at(0, 0, n);
           t.gradients.s3.set(0, 0, n, t.gradients.s3.at(0, 1, n));
           t.gradients.s3.set(0, 1, n, value);
         }
       }},
  };
}

std::vector<PlantedFault> all_faults() {
  std::vector<PlantedFault> all = faults_of_y();
  for (const auto& more : {faults_of_token_gradients(), faults_of_weight_gradients()})
    all.insert(all.end(), more.begin(), more.end());
  return all;
}

class Faults : public testing::TestWithParam<std::tuple<DType, bool, PlantedFault>> {};
INSTANTIATE_TEST_SUITE_P(All, Faults,
                         testing::Combine(testing::Values(DType::f32, DType::bf16), testing::Bool(),
                                          testing::ValuesIn(all_faults())),
                         [](const auto& test) {
                           return std::get<2>(test.param).name +
                                  (std::get<1>(test.param) ? "GateUp" : "Plain") +
                                  dtype_name(std::get<0>(test.param));
                         });

TEST_P(Faults, AreSeenWhereTheyAre) {
  const auto& [dtype, gate_up, fault] = GetParam();
  ThreadTeam team(2);
  BlockFixture fixture(odd_shape(dtype), {WeightLayout::panels, gate_up});
  fixture.store_oracle(team);
  fault.plant(fixture, fixture.tensors(), team);
  const CheckResult result = check(fixture, team);
  EXPECT_EQ(result.status, CheckStatus::failed);
  EXPECT_FALSE(result.numbers_ok);
  EXPECT_NE(result.reason.find(fault.tensor + " "), std::string::npos) << result.reason;
  const double rel_err = fault.tensor == "y" ? result.forward_rel_err : result.grad_rel_err.at(fault.tensor);
  EXPECT_GT(rel_err, fault.tensor == "y" ? forward_limit(dtype) : gradient_limit(dtype));
}

class Layouts : public testing::TestWithParam<std::tuple<DType, WeightLayout, bool>> {};
INSTANTIATE_TEST_SUITE_P(All, Layouts,
                         testing::Combine(testing::Values(DType::f32, DType::bf16),
                                          testing::Values(WeightLayout::panels, WeightLayout::row_major),
                                          testing::Bool()));

TEST_P(Layouts, OfTheRightResultsPass) {
  const auto& [dtype, layout, gate_up] = GetParam();
  ThreadTeam team(2);
  for (const int64_t shared_dim : {0, 13}) {
    MoeShape shape = odd_shape(dtype);
    shape.shared_dim = shared_dim;
    BlockFixture fixture(shape, {layout, gate_up});
    fixture.store_oracle(team);
    for (const CheckMode mode : {CheckMode::full, CheckMode::sample}) {
      const CheckResult result = check(fixture, team, mode);
      EXPECT_EQ(result.status, CheckStatus::passed) << result.reason;
      EXPECT_TRUE(result.numbers_ok);
      EXPECT_EQ(result.grad_rel_err.size(), shared_dim > 0 ? 9u : 6u);
      EXPECT_GT(result.forward_rel_err, 0);
      EXPECT_LT(result.forward_rel_err, dtype == DType::f32 ? 1e-7 : 4e-3);
      EXPECT_FALSE(result.worst_row.empty());
    }
  }
}

TEST(Check, TruncationInF32IsSeen) {
  ThreadTeam team(1);
  BlockFixture fixture(odd_shape(DType::f32));
  fixture.store_oracle(team);
  const MatView y = fixture.tensors().y;
  for (int64_t c = 0; c < y.cols; ++c)
    y.set(8, c, std::bit_cast<float>(std::bit_cast<uint32_t>(y.at(8, c)) & 0xfffff000u));
  EXPECT_EQ(check(fixture, team).status, CheckStatus::failed);
  EXPECT_EQ(check(fixture, team).worst_row.substr(0, 10), "y token 8:");
}

// The rows are those of y, dx, dp and dlogits, and for each expert those of dW1 and dW3 [20, 19] and of dW2
// [19, 20]; the shared expert has 13 columns.
TEST(Check, CountsTheRowsThatItCompares) {
  ThreadTeam team(2);
  BlockFixture fixture(odd_shape(DType::f32));
  fixture.store_oracle(team);
  EXPECT_EQ(check(fixture, team).num_rows, 4 * 203 + 5 * (20 + 20 + 19) + 20 + 20 + 13);
  EXPECT_EQ(check(fixture, team).num_sampled_rows, 0);
  EXPECT_EQ(check(fixture, team, CheckMode::full, Pass::forward).num_rows, 203);
  const CheckResult sampled = check(fixture, team, CheckMode::sample);
  const int64_t experts = std::ssize(select_sample(fixture.tensors(), 5).experts);
  EXPECT_EQ(sampled.num_rows, check(fixture, team).num_rows);
  EXPECT_EQ(sampled.num_sampled_rows, 4 * 8 + experts * (20 + 20 + 19) + 20 + 20 + 13);
}

// Rounding to bf16 changes a value by at most 2^-9 of its size.
TEST(Check, TellsTheErrorOfTheWire) {
  ThreadTeam team(2);
  BlockFixture fixture(odd_shape(DType::f32));
  fixture.store_oracle(team);
  EXPECT_EQ(check(fixture, team).wire.tokens, 0);
  BlockTensors sent = fixture.tensors();
  const std::vector<uint8_t> far(static_cast<size_t>(sent.shape.assignments()), 1);
  sent.far = far.data();
  sent.wire = Wire::bf16;
  const auto error = [&](Pass pass) { return check_block(sent, pass, CheckMode::sample, 5, team).wire; };
  const WireError both = error(Pass::forward_backward);
  EXPECT_EQ(both.tokens, 8);
  EXPECT_GT(both.y_rms, 1e-4);
  EXPECT_GE(both.y_max, both.y_rms);
  EXPECT_LT(both.y_max, 0x1p-5);
  EXPECT_GT(both.dx_rms, 1e-4);
  EXPECT_GE(both.dx_max, both.dx_rms);
  EXPECT_LT(both.dx_max, 0x1p-5);
  EXPECT_DOUBLE_EQ(error(Pass::forward).y_max, both.y_max);
  EXPECT_EQ(error(Pass::forward).dx_max, 0);
}

TEST(Check, OffLooksAtNothing) {
  ThreadTeam team(1);
  BlockFixture fixture(odd_shape(DType::f32));
  EXPECT_EQ(check(fixture, team, CheckMode::off).status, CheckStatus::off);
  EXPECT_EQ(check(fixture, team).status, CheckStatus::failed);
}

TEST(Check, ForwardLooksAtYAlone) {
  ThreadTeam team(1);
  BlockFixture fixture(odd_shape(DType::f32));
  fixture.store_oracle(team);
  scale_row(fixture.tensors().dx, 0, 7);
  const CheckResult result = check(fixture, team, CheckMode::full, Pass::forward);
  EXPECT_EQ(result.status, CheckStatus::passed) << result.reason;
  EXPECT_TRUE(result.grad_rel_err.empty());
}

// Three tokens with one choice among six experts leave some experts idle.
TEST(Check, IdleExpertsAreNoGroundForMistrust) {
  ThreadTeam team(1);
  BlockFixture fixture({3, 8, 9, 6, 1, 5, DType::f32});
  fixture.store_oracle(team);
  for (const CheckMode mode : {CheckMode::full, CheckMode::sample})
    EXPECT_EQ(check(fixture, team, mode).status, CheckStatus::passed) << check(fixture, team, mode).reason;
}

TEST(Check, GradientsOfIdleExpertsMustBeZero) {
  ThreadTeam team(1);
  BlockFixture fixture({3, 8, 9, 6, 1, 5, DType::f32});
  fixture.store_oracle(team);
  const std::vector<int64_t> load = computed_load(fixture.tensors());
  const int64_t idle = std::find(load.begin(), load.end(), 0) - load.begin();
  fixture.tensors().gradients.w3.set(idle, 0, 0, 1e-30f);
  for (const CheckMode mode : {CheckMode::full, CheckMode::sample}) {
    const CheckResult result = check(fixture, team, mode);
    EXPECT_EQ(result.status, CheckStatus::failed);
    EXPECT_EQ(result.worst_row, fmt::format("dw3 expert {} row 0: inf", idle));
  }
}

TEST(Check, MistrustsAZeroReference) {
  ThreadTeam team(1);
  BlockFixture fixture(odd_shape(DType::f32));
  const MatView x = fixture.tensors().x;
  for (int64_t r = 0; r < x.rows; ++r) scale_row(x, r, 0);
  fixture.store_oracle(team);
  for (const CheckMode mode : {CheckMode::full, CheckMode::sample}) {
    const CheckResult result = check(fixture, team, mode);
    EXPECT_EQ(result.status, CheckStatus::mistrusted);
    EXPECT_TRUE(result.zero_reference);
    EXPECT_NE(result.reason.find("reference of y is zero"), std::string::npos) << result.reason;
  }
}

// The other experts have results, so no tensor's reference is zero as a whole.
TEST(Check, MistrustsAnExpertWhoseReferenceIsZero) {
  ThreadTeam team(1);
  BlockFixture fixture(odd_shape(DType::f32));
  change_groups(fixture.tensors().weights.w2, 2, 3, [](int64_t, int64_t, int64_t, float) { return 0.0f; });
  fixture.store_oracle(team);
  for (const CheckMode mode : {CheckMode::full, CheckMode::sample}) {
    for (const Pass pass : {Pass::forward, Pass::forward_backward}) {
      const CheckResult result = check(fixture, team, mode, pass);
      EXPECT_EQ(result.status, CheckStatus::mistrusted);
      EXPECT_TRUE(result.numbers_ok);
      EXPECT_FALSE(result.zero_reference);
      EXPECT_NE(result.reason.find("the reference of expert 2 is zero"), std::string::npos) << result.reason;
    }
  }
}

TEST(Check, OperandsThatAreNotWhatTheyWereFilledWithFail) {
  ThreadTeam team(1);
  BlockFixture fixture(odd_shape(DType::f32));
  fixture.store_oracle(team);
  CheckShare share = CheckShare::whole(fixture.tensors());
  std::string fault;
  uint32_t drawn = 0;
  share.operands_fault = [&](uint32_t draw, ThreadTeam&) {
    drawn = draw;
    return fault;
  };
  const auto result = [&] { return check_block(share, Pass::forward_backward, CheckMode::sample, 5, team); };
  EXPECT_EQ(result().status, CheckStatus::passed) << result().reason;
  EXPECT_EQ(drawn, 5u);
  EXPECT_NE(result().how.find("filled with"), std::string::npos) << result().how;
  fault = "w1 of expert 3 is empty";
  EXPECT_EQ(result().status, CheckStatus::failed);
  EXPECT_EQ(result().reason, fault);
}

TEST(Check, OneChoiceHasNoGradientOfItsLogits) {
  ThreadTeam team(1);
  BlockFixture fixture({64, 8, 9, 3, 1, 0, DType::f32});
  fixture.store_oracle(team);
  EXPECT_EQ(check(fixture, team).status, CheckStatus::passed) << check(fixture, team).reason;
  fixture.dlogits()[4] = 1e-9f;
  EXPECT_EQ(check(fixture, team).status, CheckStatus::failed);
}

TEST(Check, DroppedAssignmentsCountForNothing) {
  ThreadTeam team(1);
  MoeShape shape = odd_shape(DType::f32);
  shape.shared_dim = 0;
  BlockFixture fixture(shape);
  fixture.kept().assign(static_cast<size_t>(shape.assignments()), 1);
  // Token 6 loses one choice, token 7 both: its row of y is zero.
  fixture.kept()[12] = fixture.kept()[14] = fixture.kept()[15] = 0;
  fixture.store_oracle(team);
  EXPECT_EQ(fixture.tensors().y.at(7, 0), 0);
  EXPECT_EQ(check(fixture, team).status, CheckStatus::passed) << check(fixture, team).reason;
  fixture.dp()[12] = 1e-6f;
  EXPECT_EQ(check(fixture, team).status, CheckStatus::failed);
  fixture.dp()[12] = 0;
  fixture.kept()[12] = 1;
  EXPECT_EQ(check(fixture, team).status, CheckStatus::failed);
}

// The block in double takes an expert's rows in pieces; its sums are equal to those that the audit finds
// separately.
TEST(Check, HasMoreRowsThanAreInDoubleAtATime) {
  ThreadTeam team(2);
  BlockFixture fixture({2 * kOracleRows + 5, 9, 6, 2, 1, 5, DType::f32});
  fixture.store_oracle(team);
  for (const CheckMode mode : {CheckMode::sample, CheckMode::full}) {
    const CheckResult result = check_block(fixture.tensors(), Pass::forward_backward, mode, 1, team);
    EXPECT_EQ(result.status, CheckStatus::passed) << result.reason;
  }
}

// A block with experts of another width has two rows y and two rows dx of each token.
TEST(Check, TheWorstRowIsThatOfBothPartsAndSaysOfWhich) {
  CheckResult rest, experts;
  rest.forward_rel_err = 1e-3;
  rest.worst_row = "y token 1: 1.0e-03";
  rest.worst_number = "y token 2 columns 0 to 63";
  rest.worst_bounds = 0.5;
  experts.grad_rel_err["dx"] = 2e-3;
  experts.worst_row = "dx token 3: 2.0e-03";
  experts.worst_number = "dx token 4 columns 0 to 15";
  experts.worst_bounds = 0.6;
  const CheckResult all = join_parts(rest, experts);
  EXPECT_EQ(all.worst_row, "in rows of the experts' width: dx token 3: 2.0e-03");
  EXPECT_EQ(all.worst_number, "in rows of the experts' width: dx token 4 columns 0 to 15");
  rest.forward_rel_err = 3e-3;
  rest.worst_bounds = 0.7;
  EXPECT_EQ(join_parts(rest, experts).worst_row, rest.worst_row);
  EXPECT_EQ(join_parts(rest, experts).worst_number, rest.worst_number);
}

TEST(Check, TheVerdictOnBothPartsIsTheWorseOne) {
  using S = CheckStatus;
  const auto joined = [](S of_rest, S of_experts) {
    CheckResult rest, experts;
    rest.status = of_rest;
    experts.status = of_experts;
    return join_parts(rest, experts).status;
  };
  EXPECT_EQ(joined(S::passed, S::passed), S::passed);
  EXPECT_EQ(joined(S::passed, S::mistrusted), S::mistrusted);
  EXPECT_EQ(joined(S::mistrusted, S::passed), S::mistrusted);
  EXPECT_EQ(joined(S::mistrusted, S::failed), S::failed);
  EXPECT_EQ(joined(S::failed, S::mistrusted), S::failed);
  EXPECT_EQ(joined(S::passed, S::off), S::passed) << "that proves nothing, and accuses nobody";
}

TEST(SampleCheck, SeesAGrossFault) {
  ThreadTeam team(2);
  BlockFixture fixture({300, 40, 70, 9, 3, 50, DType::bf16});
  fixture.store_oracle(team);
  const BlockTensors t = fixture.tensors();
  ASSERT_EQ(check(fixture, team, CheckMode::sample).status, CheckStatus::passed);
  const auto expect_failure_of = [&](const std::string& tensor) {
    const CheckResult result = check(fixture, team, CheckMode::sample);
    EXPECT_EQ(result.status, CheckStatus::failed) << tensor;
    EXPECT_NE(result.reason.find(tensor + " "), std::string::npos) << result.reason;
    fixture.store_oracle(team);
  };
  swap_rows(t.y, 298, 299);
  expect_failure_of("y");
  for (float& dp : fixture.dp()) dp *= 1.1f;
  expect_failure_of("dp");
  for (int e = 0; e < 9; ++e) swap_matrices(t.gradients.w1, t.gradients.w3, e, e);
  expect_failure_of("dw1");
  change_groups(t.gradients.w2, 0, 9, [](int64_t, int64_t, int64_t n, float v) { return n == 39 ? 0 : v; });
  expect_failure_of("dw2");
  change_groups(t.gradients.s3, 0, 1, [](int64_t, int64_t, int64_t n, float v) { return n == 49 ? 0 : v; });
  expect_failure_of("ds3");
}

// Sums over many tokens need fewer columns for a comparison.
TEST(SampleCheck, ChoosesColumnsByTheTokensOfAnExpert) {
  const BlockFixture many({1100, 4, 100, 1, 1, 100, DType::f32});
  EXPECT_EQ(select_sample(many.tensors(), 3).columns.size(), 16u);
  EXPECT_EQ(select_sample(many.tensors(), 3).shared_columns.size(), 16u);
  const BlockFixture few({1000, 4, 100, 1, 1, 100, DType::f32});
  EXPECT_EQ(select_sample(few.tensors(), 3).columns.size(), 64u);
  EXPECT_EQ(select_sample(few.tensors(), 3).shared_columns.size(), 64u);
}

TEST(SampleCheck, CountsTheAssignmentsThatAreComputed) {
  BlockFixture fixture({4, 4, 4, 3, 2, 0, DType::f32});
  fixture.routing().expert = {0, 1, 0, 2, 0, 1, 0, 1};
  EXPECT_EQ(computed_load(fixture.tensors()), (std::vector<int64_t>{4, 3, 1}));
  fixture.kept() = {1, 0, 1, 1, 0, 1, 1, 1};
  EXPECT_EQ(computed_load(fixture.tensors()), (std::vector<int64_t>{3, 2, 1}));
}

TEST(SampleCheck, DrawsEveryExpertAndNoOther) {
  const BlockFixture fixture({500, 8, 9, 7, 2, 0, DType::f32});
  std::set<int> drawn;
  for (uint32_t seed = 0; seed < 200; ++seed) {
    for (const int e : select_sample(fixture.tensors(), seed).experts) drawn.insert(e);
  }
  EXPECT_EQ(drawn, (std::set<int>{0, 1, 2, 3, 4, 5, 6}));
}

TEST(SampleCheck, DrawsTokensAndExpertsBySeed) {
  const MoeShape shape{500, 8, 100, 7, 2, 10, DType::f32};
  const BlockFixture fixture(shape);
  const CheckSelection sample = select_sample(fixture.tensors(), 3);
  const auto has = [](const auto& list, auto value) {
    return std::find(list.begin(), list.end(), value) != list.end();
  };
  EXPECT_EQ(sample.tokens.size(), 8u);
  EXPECT_EQ(sample.columns.size(), 64u);
  EXPECT_TRUE(has(sample.columns, 0) && has(sample.columns, 99));
  EXPECT_EQ(sample.shared_columns, indices_up_to(10));
  const std::vector<int64_t> load = computed_load(fixture.tensors());
  EXPECT_TRUE(
      has(sample.experts, static_cast<int>(std::max_element(load.begin(), load.end()) - load.begin())));
  EXPECT_LE(sample.experts.size(), 2u);
  EXPECT_EQ(select_sample(fixture.tensors(), 3).tokens, sample.tokens);
  EXPECT_NE(select_sample(fixture.tensors(), 4).tokens, sample.tokens);
}

}  // namespace
}  // namespace moehill
