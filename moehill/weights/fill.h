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

// The one row of a source into vector `group` of an f32 stack, exactly; on the calling thread. Throws
// likewise.
void fill_vector(const SourceMatrix& source, const LogicalWeights& target, int64_t group);
// Throws InputError where a value of the source is not finite.
void require_finite(const SourceMatrix& source, std::span<const float> values);

}  // namespace moehill
