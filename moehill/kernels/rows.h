// Operations on whole rows: gather, combine by an inverse permutation, scatter-add, conversion. All results
// are independent of the number of threads. Storage f32 or bf16, sums f32.
#pragma once

#include <cstdint>

#include "moehill/base/partition.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// out [rows, columns.size()] = scale * columns of m, as f32 without gaps. Returns out.
const float* widen_rows(const MatView& m, Range columns, float scale, float* out);

// Columns of `out` = `in` [rows, columns.size()], or += with `add`.
void narrow_rows(const float* in, const MatView& out, Range columns, bool add);

// out row i = scale * source row index[i] (zero for -1), i < out.rows.
void gather_rows(ThreadTeam& team, const RowSource& source, const MatView& out);

// Combine by inverse permutation: out_t = base_t + sum over j < topk of weight[t, j] * rows[row_of[t, j]], in
// the order of j; row_of -1 adds nothing. base (no data: zero) may be `out` itself. weight null: 1.
struct CombineRows {
  MatView rows;                     // [R, H]
  const int32_t* row_of = nullptr;  // [T, k]
  const float* weight = nullptr;    // [T, k]
  int topk = 0;
  MatView base{};  // [T, H]
  const int32_t* token_of =
      nullptr;  // [rows of out] whose sum a row of out (and base) is; null: t's in row t
};
void combine_rows(ThreadTeam& team, const CombineRows& c, const MatView& out);

// Computes this sum by scatter-add: rows in their order, each added to its token. `sum` is f32 [T, H] work
// space; each thread owns a range of columns, so that no two add to one place and the order of additions is
// fixed. token -1 adds nothing.
struct ScatterRows {
  MatView rows;                        // [R, H]
  const int32_t* token_of = nullptr;   // [R]
  const int32_t* weight_of = nullptr;  // [R] index into weight
  const float* weight = nullptr;       // null: 1
  MatView base{};                      // [T, H]
};
void scatter_rows(ThreadTeam& team, const ScatterRows& s, const MatView& sum, const MatView& out);

// out += in [rows, cols]; the types may differ.
void add_rows(ThreadTeam& team, const MatView& in, const MatView& out);

// out = 0.
void zero_rows(ThreadTeam& team, const MatView& out);

// Inner products <a[r], b[index_b[r]]> of rows: out[out_index[r]] = scale * that, for r < num_rows;
// an index_b or out_index of -1 skips r.
struct RowDots {
  MatView a;
  MatView b;
  const int32_t* index_b = nullptr;  // null: r
  const int32_t* out_index = nullptr;
  float scale = 1;
};
void row_dots(ThreadTeam& team, const RowDots& dots, int64_t num_rows, float* out);

// combine_rows() and row_dots(), which need nothing of each other, in one hand-over of the team.
void combine_and_dots(ThreadTeam& team, const CombineRows& c, const MatView& out, const RowDots& dots,
                      int64_t num_rows, float* dots_out);

}  // namespace moehill
