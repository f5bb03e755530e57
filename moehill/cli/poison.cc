#include "moehill/cli/poison.h"

#include <cstring>
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

// Every byte 0xff is a NaN in f32 and in bf16. The padding of a stack is poisoned too: nobody may read it.
void poison_weights(const LogicalWeights& weights, ThreadTeam& team) {
  char* data = static_cast<char*>(weights.stack.data);
  team.parallel_for(static_cast<int64_t>(weights.stack.bytes()), [&](int64_t begin, int64_t end) {
    std::memset(data + begin, 0xff, static_cast<size_t>(end - begin));
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
