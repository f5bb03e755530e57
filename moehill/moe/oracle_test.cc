// Compares the oracle with finite differences of the loss, and with its own definition in special cases.
#include "moehill/moe/oracle.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <vector>

#include "moehill/moe/block_fixture.h"

namespace moehill {
namespace {

// Every dimension is odd, and none is a multiple of a panel.
constexpr MoeShape kTiny{5, 7, 11, 4, 2, 9, DType::f32};

// Cell is one number of the input, wherever it is stored.
struct Cell {
  std::function<float()> get;
  std::function<void(float)> set;
};

std::vector<Cell> cells_of(const MatView& m) {
  std::vector<Cell> cells;
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c)
      cells.push_back({[=] { return m.at(r, c); }, [=](float value) { m.set(r, c, value); }});
  }
  return cells;
}

std::vector<Cell> cells_of(const LogicalWeights& w) {
  std::vector<Cell> cells;
  for (int64_t g = 0; g < w.stack.num_groups; ++g) {
    for (int64_t r = 0; r < w.rows(); ++r) {
      for (int64_t n = 0; n < w.num_columns; ++n)
        cells.push_back({[=] { return w.at(g, r, n); }, [=](float value) { w.set(g, r, n, value); }});
    }
  }
  return cells;
}

std::vector<Cell> cells_of(std::vector<float>& values) {
  std::vector<Cell> cells;
  for (float& v : values) cells.push_back({[&v] { return v; }, [&v](float value) { v = value; }});
  return cells;
}

// Uses central differences of fourth order. The numbers are first rounded to multiples of 2^-12, so that a
// number plus a step is an exact f32 and no rounding enters the difference.
std::vector<double> differences(const std::vector<Cell>& cells, const std::function<double()>& function) {
  constexpr float kStep = 0x1p-9f;
  std::vector<double> slopes;
  for (const Cell& cell : cells) {
    const float value = cell.get();
    EXPECT_EQ(value, std::round(value * 0x1p12f) * 0x1p-12f);
    const auto slope = [&](float step) {
      cell.set(value + step);
      const double above = function();
      cell.set(value - step);
      const double below = function();
      return (above - below) / (2.0 * static_cast<double>(step));
    };
    slopes.push_back((4 * slope(kStep) - slope(2 * kStep)) / 3);
    cell.set(value);
  }
  return slopes;
}

double relative_error(const std::vector<double>& values, const std::vector<double>& reference) {
  EXPECT_EQ(values.size(), reference.size());
  double error = 0, norm = 0;
  for (size_t i = 0; i < values.size(); ++i) {
    error += std::pow(values[i] - reference[i], 2);
    norm += reference[i] * reference[i];
  }
  EXPECT_GT(norm, 0);
  return std::sqrt(error / norm);
}

void expect_gradients_are_slopes(BlockFixture& fixture, ThreadTeam& team) {
  const BlockTensors tensors = fixture.tensors();
  const BlockWeights& w = tensors.weights;
  for (const auto& cells :
       {cells_of(w.b1), cells_of(w.b2), cells_of(w.b3), cells_of(w.sg), cells_of(tensors.x), cells_of(w.w1),
        cells_of(w.w2), cells_of(w.w3), cells_of(w.s1), cells_of(w.s2), cells_of(w.s3),
        cells_of(fixture.routing().weight)}) {
    for (const Cell& cell : cells) cell.set(std::round(cell.get() * 0x1p12f) * 0x1p-12f);
  }
  const OracleResult gradient = run_oracle(tensors, true, nullptr, team);
  const auto loss = [&] {
    double sum = 0;
    const std::vector<double> y = run_oracle(tensors, false, nullptr, team).y;
    for (const double value : y) sum += value * value;
    return sum / static_cast<double>(y.size());
  };
  const auto compare = [&](const char* name, const std::vector<double>& values,
                           const std::vector<Cell>& cells) {
    EXPECT_LT(relative_error(values, differences(cells, loss)), 1e-6) << name;
  };
  const bool gated = tensors.shape.form.activation.gated;
  compare("dx", gradient.dx, cells_of(tensors.x));
  compare("dw1", gradient.dw1, cells_of(w.w1));
  compare("dw2", gradient.dw2, cells_of(w.w2));
  if (gated) compare("dw3", gradient.dw3, cells_of(w.w3));
  compare("dp", gradient.dp, cells_of(fixture.routing().weight));
  if (tensors.shape.form.biases) {
    compare("db1", gradient.db1, cells_of(w.b1));
    compare("db2", gradient.db2, cells_of(w.b2));
    if (gated) compare("db3", gradient.db3, cells_of(w.b3));
  }
  if (tensors.shape.form.shared_gate) compare("dsg", gradient.dsg, cells_of(w.sg));
  if (tensors.shape.shared_dim == 0) return;
  compare("ds1", gradient.ds1, cells_of(w.s1));
  compare("ds2", gradient.ds2, cells_of(w.s2));
  if (gated) compare("ds3", gradient.ds3, cells_of(w.s3));
}

TEST(OracleGradients, AreTheSlopesOfTheLoss) {
  ThreadTeam team(1);
  BlockFixture fixture(kTiny);
  expect_gradients_are_slopes(fixture, team);
}

TEST(OracleGradients, AreTheSlopesWithoutSharedExpertInPlainLayout) {
  ThreadTeam team(1);
  BlockFixture fixture({3, 5, 17, 3, 3, 0, DType::f32}, {WeightLayout::row_major, false}, 7);
  expect_gradients_are_slopes(fixture, team);
}

// No g or u of this block is so close to a limit, or to the 0 of relu2, that a step would cross it.
TEST(OracleGradients, AreTheSlopesForEveryExpertForm) {
  ThreadTeam team(1);
  for (const char* form : {"silu,limit:0.6", "swiglu-oai", "swiglu-oai,limit:0.6,alpha:1.5", "gelu-tanh",
                           "relu2", "relu2,ungated", "situ", "situ,beta:1,linear-beta:0.75", "silu,biases",
                           "relu2,ungated,biases", "silu,shared-gate", "gelu-tanh,biases,shared-gate"}) {
    SCOPED_TRACE(form);
    BlockFixture fixture({3, 5, 7, 3, 2, 4, DType::f32, {}, parse_expert_form(form)});
    expect_gradients_are_slopes(fixture, team);
  }
}

TEST(OracleGradients, AreTheSlopesWhereGateValuesMultiplyInputs) {
  ThreadTeam team(1);
  for (const char* form : {"silu", "relu2,ungated", "silu,shared-gate"}) {
    SCOPED_TRACE(form);
    MoeShape shape{3, 5, 7, 3, 2, 4, DType::f32, {}, parse_expert_form(form)};
    shape.router.input_weighted = true;
    BlockFixture fixture(shape);
    expect_gradients_are_slopes(fixture, team);
  }
}

TEST(OracleGradients, AreTheSlopesOfTheKeptAssignments) {
  ThreadTeam team(1);
  BlockFixture fixture(kTiny);
  fixture.kept().assign(static_cast<size_t>(kTiny.assignments()), 1);
  fixture.kept()[3] = fixture.kept()[4] = 0;
  const OracleResult result = run_oracle(fixture.tensors(), true, nullptr, team);
  EXPECT_EQ(result.dp[3], 0);
  EXPECT_EQ(result.dp[4], 0);
  EXPECT_NE(result.dp[5], 0);
  expect_gradients_are_slopes(fixture, team);
}

// The gradients of the logits are the slopes of sum_j dp_j p_j(logits) with dp held fixed; p is the softmax
// over the chosen.
TEST(OracleGradients, OfTheLogitsAreTheSlopesThroughTheSoftmax) {
  ThreadTeam team(1);
  BlockFixture fixture(kTiny);
  std::vector<float>& logits = fixture.logits();
  for (float& logit : logits) logit = std::round(logit * 0x1p12f) * 0x1p-12f;
  const Routing& routing = fixture.routing() = route_topk(logits, kTiny.tokens, kTiny.experts, kTiny.topk);
  const OracleResult result = run_oracle(fixture.tensors(), true, nullptr, team);
  const auto gate_values_times_dp = [&] {
    double sum = 0;
    for (int64_t t = 0; t < kTiny.tokens; ++t) {
      double total = 0, weighted = 0;
      for (int64_t a = t * kTiny.topk; a < (t + 1) * kTiny.topk; ++a) {
        const int expert = routing.expert[static_cast<size_t>(a)];
        const double power =
            std::exp(static_cast<double>(logits[static_cast<size_t>(t * kTiny.experts + expert)]));
        total += power;
        weighted += power * result.dp[static_cast<size_t>(a)];
      }
      sum += weighted / total;
    }
    return sum;
  };
  EXPECT_LT(relative_error(result.dlogits, differences(cells_of(logits), gate_values_times_dp)), 1e-6);
}

TEST(Oracle, IsTheSameForAnyTeamAndLayout) {
  ThreadTeam one(1), three(3);
  const MoeShape shape{23, 40, 300, 5, 2, 33, DType::bf16};
  const OracleResult a =
      run_oracle(BlockFixture(shape, {WeightLayout::panels, true}).tensors(), true, nullptr, one);
  for (const FixtureLayout how :
       {FixtureLayout{WeightLayout::panels, false}, {WeightLayout::row_major, true}}) {
    const OracleResult b = run_oracle(BlockFixture(shape, how).tensors(), true, nullptr, three);
    EXPECT_EQ(a.y, b.y);
    EXPECT_EQ(a.dx, b.dx);
    EXPECT_EQ(a.dw1, b.dw1);
    EXPECT_EQ(a.dw2, b.dw2);
    EXPECT_EQ(a.ds3, b.ds3);
    EXPECT_EQ(a.dp, b.dp);
  }
}

// One token and one expert, where everything has the width 1: y = p silu(x w1) x w3 w2.
TEST(Oracle, FollowsTheFormula) {
  ThreadTeam team(1);
  BlockFixture fixture({1, 1, 1, 1, 1, 0, DType::f32});
  const BlockTensors t = fixture.tensors();
  t.x.set(0, 0, 2);
  t.weights.w1.set(0, 0, 0, 0.5f);
  t.weights.w3.set(0, 0, 0, 3);
  t.weights.w2.set(0, 0, 0, -0.25f);
  fixture.routing().weight[0] = 0.75f;
  const double silu_of_one = 0.7310585786300049;
  const OracleResult result = run_oracle(t, true, nullptr, team);
  EXPECT_NEAR(result.y[0], 0.75 * silu_of_one * 6 * -0.25, 1e-15);
  EXPECT_NEAR(result.dp[0], 2 * result.y[0] * result.y[0] / 0.75, 1e-14);
  const double dy = 10;
  EXPECT_NEAR(run_oracle(t, true, &dy, team).dp[0], 10 * result.y[0] / 0.75, 1e-14);
}

TEST(Oracle, OfSomeTokensAndColumnsIsPartOfTheWhole) {
  ThreadTeam team(2);
  const MoeShape shape{9, 6, 20, 3, 2, 5, DType::f32};
  BlockFixture fixture(shape);
  const BlockTensors t = fixture.tensors();
  const std::vector<double> dy(static_cast<size_t>(shape.tokens * shape.hidden), 0.5);
  const OracleResult whole = run_oracle(t, true, dy.data(), team);
  const TokenResult some = run_oracle_tokens(t, std::vector<int64_t>{2, 8}, dy.data(), team);
  const ExpertGradients part = run_oracle_expert(t, 1, std::vector<int64_t>{0, 7, 19}, dy.data(), team);
  const auto at = [](const std::vector<double>& values, int64_t i) { return values[static_cast<size_t>(i)]; };
  for (int64_t h = 0; h < shape.hidden; ++h) {
    EXPECT_EQ(some.y.row(1)[h], at(whole.y, 8 * shape.hidden + h));
    EXPECT_EQ(some.dx.row(0)[h], at(whole.dx, 2 * shape.hidden + h));
    EXPECT_EQ(part.dw1.row(h)[1], at(whole.dw1, (shape.hidden + h) * shape.mlp_dim + 7));
    EXPECT_EQ(part.dw3.row(h)[2], at(whole.dw3, (shape.hidden + h) * shape.mlp_dim + 19));
    EXPECT_EQ(part.dw2.row(1)[h], at(whole.dw2, (shape.mlp_dim + 7) * shape.hidden + h));
  }
}

TEST(Oracle, ReadsRowsAsTheLayoutsDefineThem) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    for (const WeightLayout layout : {WeightLayout::panels, WeightLayout::row_major}) {
      for (const bool gate_up : {false, true}) {
        const BlockFixture fixture({2, 19, 37, 2, 1, 0, dtype}, {layout, gate_up});
        const BlockWeights w = fixture.tensors().weights;
        for (const LogicalWeights* matrix : {&w.w1, &w.w2, &w.w3}) {
          std::vector<float> row(static_cast<size_t>(matrix->num_columns));
          read_row(*matrix, 1, 18, row.data());
          for (size_t n = 0; n < row.size(); ++n)
            EXPECT_EQ(row[n], matrix->at(1, 18, static_cast<int64_t>(n)));
        }
      }
    }
  }
}

}  // namespace
}  // namespace moehill
