// This header has the work of a rank's team in a collective: sums over ranks in rank order (all_reduce,
// reduce_scatter), and copies of segments from many places into one array (all_gather, all_to_all). The
// backends of the mesh find the operands; this code only adds and copies.
//
//   team_sum(team, {inputs, DType::f32, 0, outputs, DType::bf16, 0, n});
#pragma once

#include <cstdint>
#include <span>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// SumJob describes outputs[j][output_begin + i] = round(inputs[0][input_begin + i] + inputs[1][input_begin +
// i] + ...) for i in [0, n) and all outputs j. Every addition is in f32, with one rounding to the output type
// at the end. An output may be the same memory as an input of the same type.
struct SumJob {
  std::span<const void* const> inputs;  // at least one
  DType input_dtype = DType::f32;
  int64_t input_begin = 0;
  std::span<void* const> outputs;
  DType output_dtype = DType::f32;
  int64_t output_begin = 0;
  int64_t n = 0;
};

void team_sum(ThreadTeam& team, const SumJob& job);

// CopyJob describes a copy of each sources[r] to elements [offsets[r], offsets[r + 1]) of `output`. A source
// that is already there is not copied.
struct CopyJob {
  std::span<const void* const> sources;  // [ranks]
  std::span<const int64_t> offsets;      // [ranks + 1]
  size_t element_bytes = 1;
  void* output = nullptr;
};

void team_copy(ThreadTeam& team, const CopyJob& job);

}  // namespace moehill
