// Matrices in the caller's memory, and the way from there into weight stacks and back. The layout of stacks
// is tensor/weight_stack.h.
//
//     const HostMatrices host = host_matrices(data, DType::f32, k, n, /*is_transposed=*/true);   // [N, K]
//     load_stack(team, host, stack);
#pragma once

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// HostMatrices are G matrices [K, N], one after the other. Element (r, c) of the first lies at r * row_step +
// c * column_step.
struct HostMatrices {
  void* data = nullptr;  // load_stack() does not write to it
  DType dtype = DType::f32;
  int64_t group_step = 0, row_step = 0, column_step = 0;  // in elements
};

// Describes matrices [K, N] as they are multiplied (in, out), or transposed, [N, K] (out, in).
HostMatrices host_matrices(void* data, DType dtype, int64_t k, int64_t n, bool is_transposed);

// Copies group g of `host` to group g of `stack`, for all groups of `stack`.
void load_stack(ThreadTeam& team, const HostMatrices& host, const LogicalWeights& stack);
// Copies back; `accumulate` adds to the host's elements.
void store_stack(ThreadTeam& team, const LogicalWeights& stack, const HostMatrices& host, bool accumulate);

}  // namespace moehill
