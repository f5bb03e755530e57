// This header has dense matrices in plain memory and their three products in double: the arithmetic of the
// oracle and the audit. It is written to be read, and is slower than the library's kernels
// (kernels/grouped_gemm.h). Every element of a product is one sum in a fixed order, so the size of the team
// does not change a bit of it.
//
//   Dense<double> a(2, 3), b(3, 4);
//   const Dense<double> c = product(team, a, b);   // [2, 4]
#pragma once

#include <algorithm>
#include <cstdint>
#include <span>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/kernels/audit_loops.h"
#include "moehill/machine/thread_team.h"

namespace moehill {

// Dense is a matrix [rows, cols], row-major, zero at first. It owns its values.
template <typename T>
struct Dense {
  Dense() = default;
  Dense(int64_t num_rows, int64_t num_cols)
      : rows(num_rows), cols(num_cols), values(static_cast<size_t>(num_rows * num_cols)) {}
  // Gives the matrix another shape. It allocates only if its memory is too small. Its values are undefined
  // then.
  void reshape(int64_t num_rows, int64_t num_cols) {
    rows = num_rows;
    cols = num_cols;
    values.resize(static_cast<size_t>(num_rows * num_cols));
  }
  T* row(int64_t r) { return values.data() + r * cols; }
  const T* row(int64_t r) const { return values.data() + r * cols; }
  std::span<const T> row_span(int64_t r) const { return {row(r), static_cast<size_t>(cols)}; }
  std::span<T> row_mutable(int64_t r) { return {row(r), static_cast<size_t>(cols)}; }

  int64_t rows = 0, cols = 0;
  std::vector<T> values;
};

// Calls body(row range, column range) for tiles of [rows, cols], in parallel. Tiles of 4 x 256 doubles stay
// in L1.
template <typename Body>
void for_tiles(ThreadTeam& team, int64_t rows, int64_t cols, const Body& body) {
  constexpr int64_t kRows = 4, kCols = 256;
  const int64_t row_tiles = (rows + kRows - 1) / kRows, col_tiles = (cols + kCols - 1) / kCols;
  team.parallel_for(row_tiles * col_tiles, [&](int64_t begin, int64_t end) {
    for (int64_t tile = begin; tile < end; ++tile) {
      const int64_t r = tile % row_tiles * kRows, c = tile / row_tiles * kCols;
      body(Range{r, std::min(rows, r + kRows)}, Range{c, std::min(cols, c + kCols)});
    }
  });
}

// Returns out[i, n] = sum over j of factor(i, j) * b[j, n].
template <typename B, typename Factor>
Dense<double> sum_of_rows(ThreadTeam& team, int64_t rows, const Dense<B>& b, const Factor& factor) {
  const AuditLoops<B>& loops = audit_loops<B>();
  Dense<double> out(rows, b.cols);
  for_tiles(team, rows, b.cols, [&](Range row_tile, Range col_tile) {
    for (int64_t j = 0; j < b.rows; ++j) {
      const B* source = b.row(j);
      for (int64_t i = row_tile.begin; i < row_tile.end; ++i)
        loops.add_scaled(factor(i, j), source + col_tile.begin, out.row(i) + col_tile.begin, col_tile.size());
    }
  });
  return out;
}

// Returns a [R, K] times b [K, N].
template <typename A, typename B>
Dense<double> product(ThreadTeam& team, const Dense<A>& a, const Dense<B>& b) {
  MOEHILL_CHECK(a.cols == b.rows, "[{}, {}] times [{}, {}]", a.rows, a.cols, b.rows, b.cols);
  return sum_of_rows(team, a.rows, b, [&](int64_t i, int64_t j) { return a.row(i)[j]; });
}

// Returns a [R, K] transposed, times b [R, N].
template <typename A, typename B>
Dense<double> product_at(ThreadTeam& team, const Dense<A>& a, const Dense<B>& b) {
  MOEHILL_CHECK(a.rows == b.rows, "[{}, {}]^T times [{}, {}]", a.rows, a.cols, b.rows, b.cols);
  return sum_of_rows(team, a.cols, b, [&](int64_t i, int64_t j) { return a.row(j)[i]; });
}

// Returns <a, b> over n elements.
template <typename B>
double dot(const double* a, const B* b, int64_t n) {
  return audit_loops<B>().dot(a, b, n);
}

// Returns a [R, K] times b [N, K] transposed.
template <typename B>
Dense<double> product_bt(ThreadTeam& team, const Dense<double>& a, const Dense<B>& b) {
  MOEHILL_CHECK(a.cols == b.cols, "[{}, {}] times [{}, {}]^T", a.rows, a.cols, b.rows, b.cols);
  Dense<double> out(a.rows, b.rows);
  for_tiles(team, a.rows, b.rows, [&](Range row_tile, Range col_tile) {
    for (int64_t n = col_tile.begin; n < col_tile.end; ++n) {
      for (int64_t i = row_tile.begin; i < row_tile.end; ++i) out.row(i)[n] = dot(a.row(i), b.row(n), a.cols);
    }
  });
  return out;
}

}  // namespace moehill
