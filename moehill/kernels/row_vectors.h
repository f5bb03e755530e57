// This header has operations of rows with vectors: gradients of biases, and the gate vector of a shared
// expert. Vectors are f32, stored as [groups][1, n] with n rounded up to whole panels
// (tensor/weight_stack.h). Results do not depend on the number of threads. Products with matrices are in
// grouped_gemm.h.
//
//   sum_rows(team, offsets, {.rows = {dy}, .columns = hidden}, d_bias);   // d_bias [E][1, H]
#pragma once

#include <cstdint>

#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// RowSums describes the sum of the rows of each group, out [groups][1, n]. The sum is zero for an empty group
// and in the padding. Columns stand in blocks of 8, which are `block_stride` elements apart (see GateUpView).
struct RowSums {
  RowSource rows;
  const float* weight = nullptr;  // [rows], null: 1
  int64_t columns = 0;
  int64_t block_stride = kGateUpWidth;
};
void sum_rows(ThreadTeam& team, const GroupRows& groups, const RowSums& sums, const WeightView& out);

// VectorDots describes out[out_index[r]] += <row r, vector of its group>. If out_index is null, the place is
// r; -1 skips the row.
struct VectorDots {
  RowSource rows;
  WeightView vectors;
  const int32_t* out_index = nullptr;
};
void add_vector_dots(ThreadTeam& team, const GroupRows& groups, const VectorDots& dots, float* out);

// Adds factor[r] times the vector to row r of out. `vector` has one group.
void add_outer(ThreadTeam& team, const float* factor, const WeightView& vector, const MatView& out);

// Multiplies row r by factor[r].
void scale_rows(ThreadTeam& team, const float* factor, const MatView& rows);

}  // namespace moehill
