#include "moehill/cli/poison.h"

#include <limits>

namespace moehill {
namespace {

constexpr float kNaN = std::numeric_limits<float>::quiet_NaN();

void poison_matrix(const MatView& matrix, ThreadTeam& team) {
  team.parallel_for(matrix.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < matrix.cols; ++c) matrix.set(r, c, kNaN);
    }
  });
}

void poison_weights(const LogicalWeights& weights, ThreadTeam& team) {
  const int64_t k = weights.rows();
  team.parallel_for(weights.stack.num_groups * k, [&](int64_t begin, int64_t end) {
    for (int64_t row = begin; row < end; ++row) {
      for (int64_t n = 0; n < weights.num_columns; ++n) weights.set(row / k, row % k, n, kNaN);
    }
  });
}

}  // namespace

void poison_results(const BlockTensors& tensors, Pass pass, ThreadTeam& team) {
  poison_matrix(tensors.y, team);
  if (pass == Pass::forward) return;
  poison_matrix(tensors.dx, team);
  const BlockWeights& g = tensors.gradients;
  for (const LogicalWeights* weights : {&g.w1, &g.w3, &g.w2, &g.s1, &g.s3, &g.s2})
    poison_weights(*weights, team);
}

}  // namespace moehill
