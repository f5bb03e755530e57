// Poison reaches every value of the results.
#include "moehill/cli/poison.h"

#include <gtest/gtest.h>

#include <cmath>

namespace moehill {
namespace {

void expect_poisoned(const LogicalWeights& weights) {
  for (int64_t g = 0; g < weights.stack.num_groups; ++g) {
    for (int64_t r = 0; r < weights.rows(); ++r) {
      for (int64_t n = 0; n < weights.num_columns; ++n) EXPECT_TRUE(std::isnan(weights.at(g, r, n)));
    }
  }
}

TEST(Poison, EveryResultOfBothTypes) {
  for (const DType dtype : {DType::f32, DType::bf16}) {
    ThreadTeam team(3);
    const Matrix y(5, 7, dtype), dx(5, 7, dtype);
    const WeightStack gate_up(WeightLayout::panels, 3, 7, gate_up_columns(9), dtype);
    const WeightStack down(WeightLayout::row_major, 3, 9, 7, dtype);
    BlockTensors tensors;
    tensors.y = y.view();
    tensors.dx = dx.view();
    tensors.gradients.w1 = {gate_up, LogicalWeights::Part::gate, 9};
    tensors.gradients.w3 = {gate_up, LogicalWeights::Part::up, 9};
    tensors.gradients.w2 = {down, LogicalWeights::Part::all, 7};
    poison_results(tensors, Pass::forward_backward, team);
    for (int64_t r = 0; r < 5; ++r) {
      for (int64_t c = 0; c < 7; ++c)
        EXPECT_TRUE(std::isnan(y.view().at(r, c)) && std::isnan(dx.view().at(r, c)));
    }
    expect_poisoned(tensors.gradients.w1);
    expect_poisoned(tensors.gradients.w3);
    expect_poisoned(tensors.gradients.w2);
  }
}

}  // namespace
}  // namespace moehill
