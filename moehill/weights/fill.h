// This header fills weight stacks from the matrices of a file: it decodes, rounds to the stack's type and
// transposes into its layout. layer_weights.h decides which matrix goes where.
//
//   const float rounding = fill_weights(team, {{{&mlp.gate, targets.w1, expert}}});
#pragma once

#include <span>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"
#include "moehill/weights/source_matrix.h"

namespace moehill {

// FillTask is one matrix to fill: logical matrix `group` of target, [K, N] with K inputs and N outputs. The
// source must have the same numbers of inputs and outputs.
struct FillTask {
  const SourceMatrix* source = nullptr;
  LogicalWeights target;
  int64_t group = 0;
};

// Fills all tasks. Returns the largest error of rounding to the target's type, as a share of the value: at
// most 2^-8 for bf16, none for f32 or if the source is bf16. Throws InputError for a value that is not finite
// in the target's type.
float fill_weights(ThreadTeam& team, std::span<const FillTask> tasks);

// Copies the only row of a source into vector `group` of an f32 stack, on the calling thread. Nothing is
// rounded. Throws InputError for a value that is not finite.
void fill_vector(const SourceMatrix& source, const LogicalWeights& target, int64_t group);
// Throws InputError if one of the values is not finite; the source gives the name for the message.
void require_finite(const SourceMatrix& source, std::span<const float> values);

}  // namespace moehill
