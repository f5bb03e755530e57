// HostMatrices are matrices in the caller's memory. This header copies them into weight stacks and back;
// tensor/weight_stack.h has the layout of the stacks.
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

// Describes matrices [K, N] (in, out), or transposed ones, [N, K] (out, in).
HostMatrices host_matrices(void* data, DType dtype, int64_t k, int64_t n, bool is_transposed);

// Copies group g of `host` to group g of `stack`, for all groups of `stack`.
void load_stack(ThreadTeam& team, const HostMatrices& host, const LogicalWeights& stack);
// Copies back. With `accumulate` it adds to the host's elements.
void store_stack(ThreadTeam& team, const LogicalWeights& stack, const HostMatrices& host, bool accumulate);

}  // namespace moehill
