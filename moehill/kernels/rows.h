// This header has operations on whole rows: gather, combine by an inverse permutation, scatter-add,
// conversion. Rows are stored as f32 or bf16; sums are f32. Results do not depend on the number of threads.
// Products are in grouped_gemm.h.
//
//   gather_rows(team, {x, token_of_row}, packed);   // packed [A, H], row r = x[token_of_row[r]]
//   combine_rows(team, {.rows = packed, .row_of = row_of, .weight = gates, .topk = 8}, y);   // y [T, H]
#pragma once

#include <cstdint>

#include "moehill/base/partition.h"
#include "moehill/kernels/grouped_gemm.h"

namespace moehill {

// Writes out [rows, columns.size()] = scale * columns of m, as f32 without gaps. Returns out.
const float* widen_rows(const MatView& m, Range columns, float scale, float* out);

// Writes `in` [rows, columns.size()] to these columns of `out`. With `add`, it adds to them.
void narrow_rows(const float* in, const MatView& out, Range columns, bool add);

// Sets every row i of out to scale * row index[i] of the source, or to zeros for index -1.
void gather_rows(ThreadTeam& team, const RowSource& source, const MatView& out);

// CombineRows describes a combine by the inverse permutation: out[t] = base[t] + sum over j < topk of
// weight[t, j] * rows[row_of[t, j]], added in the order of j. row_of -1 adds nothing. base may be `out`
// itself; without data it is zero. If weight is null, every weight is 1.
struct CombineRows {
  MatView rows;                     // [R, H]
  const int32_t* row_of = nullptr;  // [T, k]
  const float* weight = nullptr;    // [T, k]
  int topk = 0;
  MatView base{};  // [T, H]
  const int32_t* token_of =
      nullptr;  // [rows of out] the token whose sum a row of out (and of base) is; null: token t in row t
};
void combine_rows(ThreadTeam& team, const CombineRows& c, const MatView& out);

// ScatterRows describes this sum by scatter-add: it takes rows in their order and adds each to its token.
// `sum` is f32 work space [T, H]. Each thread owns a range of columns, so that no two threads add to the same
// place and the order of additions is fixed. A row with token -1 adds nothing.
struct ScatterRows {
  MatView rows;                        // [R, H]
  const int32_t* token_of = nullptr;   // [R]
  const int32_t* weight_of = nullptr;  // [R] index into weight
  const float* weight = nullptr;       // null: 1
  MatView base{};                      // [T, H]
};
void scatter_rows(ThreadTeam& team, const ScatterRows& s, const MatView& sum, const MatView& out);

// Computes out += in, both [rows, cols]; their types may differ.
void add_rows(ThreadTeam& team, const MatView& in, const MatView& out);

// Sets all rows to zero.
void zero_rows(ThreadTeam& team, const MatView& out);

// RowDots describes inner products of rows: out[out_index[r]] = scale * <a[r], b[index_b[r]]> for r <
// num_rows. An index_b or out_index of -1 skips r.
struct RowDots {
  MatView a;
  MatView b;
  const int32_t* index_b = nullptr;  // null: row r
  const int32_t* out_index = nullptr;
  float scale = 1;
};
void row_dots(ThreadTeam& team, const RowDots& dots, int64_t num_rows, float* out);

// Runs combine_rows() and row_dots() as one task of the team; neither needs the other's result.
void combine_and_dots(ThreadTeam& team, const CombineRows& c, const MatView& out, const RowDots& dots,
                      int64_t num_rows, float* dots_out);

}  // namespace moehill
