// Matrices in the caller's memory, and the way from there into weight stacks and back.
#pragma once

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// G matrices [K, N], one after the other: element (r, c) of the first at r * row_step + c * column_step.
struct HostMatrices {
  void* data = nullptr;  // not written to by load_stack()
  DType dtype = DType::f32;
  int64_t group_step = 0, row_step = 0, column_step = 0;  // in elements
};

// [K, N] as they are multiplied (in, out), or transposed as [N, K] (out, in).
HostMatrices host_matrices(void* data, DType dtype, int64_t k, int64_t n, bool is_transposed);

// Group g of `host` becomes group g of `stack`, [0, stack.num_groups).
void load_stack(ThreadTeam& team, const HostMatrices& host, const LogicalWeights& stack);
// And back; accumulate: += instead of =.
void store_stack(ThreadTeam& team, const LogicalWeights& stack, const HostMatrices& host, bool accumulate);

}  // namespace moehill
