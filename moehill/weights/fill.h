// Weights from a file into the stacks that the products read.
#pragma once

#include <span>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"
#include "moehill/weights/source_matrix.h"

namespace moehill {

// Logical matrix `group` of target [K, N]: K inputs, N outputs. Those of the source are as many.
struct FillTask {
  const SourceMatrix* source = nullptr;
  LogicalWeights target;
  int64_t group = 0;
};

// Returns the largest error of rounding to the target's type, as a share of the value: at most 2^-8 into
// bf16, none into f32 or from bf16. Throws InputError for a value that is not finite there.
float fill_weights(ThreadTeam& team, std::span<const FillTask> tasks);

}  // namespace moehill
