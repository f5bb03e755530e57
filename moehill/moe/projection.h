// Projection is a matrix [rows, n] seen through random weights w: one number for each row and each block B of
// its columns. The check compares these numbers in place of single elements. An error in an element changes
// the number of its block by the error times the element's weight. The projection of a product costs as much
// as n / block columns of the product.
//
//   sum[r, B]     = sum over j in B of w_j a[r, j]
//   squares[r, B] = sum over j in B of w_j^2 a[r, j]^2
//
// The weights are +-(0.5 to 1.5), so a sum changes if two columns are exchanged, a sign is wrong or a column
// is missing. With blocks of one column and the weight 1, the projection is the matrix itself. Known weights
// could hide an error, so the seed should differ from run to run.
#pragma once

#include <algorithm>
#include <cstdint>
#include <vector>

#include "moehill/base/partition.h"
#include "moehill/base/rng.h"
#include "moehill/kernels/audit_loops.h"
#include "moehill/moe/dense.h"

namespace moehill {

struct Projection {
  Projection() = default;
  // Makes blocks of `block` columns of n; the last one may be shorter. The weights depend only on (seed, n).
  Projection(int64_t n, int64_t block_width, uint32_t seed)
      : block(block_width), weight(static_cast<size_t>(n), 1.0f) {
    if (block == 1) return;
    for (size_t j = 0; j < weight.size(); ++j) {
      const double u =
          2 * random_uniform(seed, Stream::kProjection, (static_cast<uint64_t>(n) << 32) + j) - 1;
      weight[j] = static_cast<float>(u < 0 ? u - 0.5 : u + 0.5);
    }
  }

  // Returns the projection of columns [begin, end) only; a block must begin at `begin`.
  Projection slice(Range columns) const {
    Projection part;
    part.block = block;
    part.weight.assign(weight.begin() + columns.begin, weight.begin() + columns.end);
    return part;
  }

  int64_t num_columns() const { return static_cast<int64_t>(weight.size()); }
  int64_t num_blocks() const { return (num_columns() + block - 1) / block; }
  Range columns_of(int64_t b) const { return {b * block, std::min(num_columns(), (b + 1) * block)}; }

  // Projects one row [n], and overwrites sum and squares [blocks].
  template <typename F>
  void project_row(const F* row, F* sum, F* squares) const {
    audit_loops<F>().project(row, weight.data(), num_columns(), block, sum, squares);
  }

  // Returns how many roundings a sum over a block has. Vectors make the sum, and each lane adds a few terms
  // only.
  double num_roundings() const { return block == 1 ? 0 : 8; }

  int64_t block = 1;
  std::vector<float> weight;  // [n]
};

// Projected has the two numbers above, sum and squares, for each row and block of a matrix.
template <typename F>
struct Projected {
  Dense<F> sum, squares;
  void reshape(int64_t rows, int64_t cols) {
    sum.reshape(rows, cols);
    squares.reshape(rows, cols);
  }
};

// Projects a [rows, n] to [rows, blocks].
template <typename F>
void project(const Projection& p, const Dense<F>& a, Projected<F>& out) {
  out.reshape(a.rows, p.num_blocks());
  for (int64_t r = 0; r < a.rows; ++r) p.project_row(a.row(r), out.sum.row(r), out.squares.row(r));
}

// Projects the rows of a [n, cols] in place of its columns, to [blocks, cols]. Also sets norms [cols], the
// squared norms of the columns of a.
template <typename F>
void project_rows(const Projection& p, const Dense<F>& a, Projected<F>& out, std::vector<F>& norms) {
  const AuditLoops<F>& loops = audit_loops<F>();
  out.reshape(p.num_blocks(), a.cols);
  for (Dense<F>* m : {&out.sum, &out.squares}) std::fill(m->values.begin(), m->values.end(), F{0});
  norms.assign(static_cast<size_t>(a.cols), F{0});
  for (int64_t j = 0; j < a.rows; ++j) {
    const int64_t b = j / p.block;
    loops.add_projected_row(a.row(j), static_cast<F>(p.weight[static_cast<size_t>(j)]), a.cols, norms.data(),
                            out.sum.row(b), out.squares.row(b));
  }
}

}  // namespace moehill
