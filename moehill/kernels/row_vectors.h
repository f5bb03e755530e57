// Vectors beside the products of rows: biases of experts, and the vector of a gate. They are f32, [groups][1,
// n] with n rounded up to whole panels. All results are independent of the number of threads.
#pragma once

#include <cstdint>

#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// Sums of the rows of each group, into out [groups][1, n]; zero for an empty group and in its padding. The
// columns stand in blocks of 8, from one to the next `block_stride` elements (GateUpView).
struct RowSums {
  RowSource rows;
  const float* weight = nullptr;  // [rows], null: 1
  int64_t columns = 0;
  int64_t block_stride = kGateUpWidth;
};
void sum_rows(ThreadTeam& team, const GroupRows& groups, const RowSums& sums, const WeightView& out);

// out[out_index[r]] += the inner product of row r with its group's vector. out_index null: r; -1 skips.
struct VectorDots {
  RowSource rows;
  WeightView vectors;
  const int32_t* out_index = nullptr;
};
void add_vector_dots(ThreadTeam& team, const GroupRows& groups, const VectorDots& dots, float* out);

// out row r += factor[r] * the one vector.
void add_outer(ThreadTeam& team, const float* factor, const WeightView& vector, const MatView& out);

// Row r *= factor[r].
void scale_rows(ThreadTeam& team, const float* factor, const MatView& rows);

}  // namespace moehill
