// Projection: a matrix [rows, n] seen through random weights, one number for each row and each block of its
// columns. What the check compares in place of single elements: a wrong element changes its block's number by
// (its error) times (its weight), and a product's projection costs n / block of the product.
//
//   sum[r, B]     = sum over j in B of w_j a[r, j]
//   squares[r, B] = sum over j in B of w_j^2 a[r, j]^2
//
// The weights are +-(0.5 to 1.5), so that two columns that were exchanged, or a sign, or a column left out
// all change the sum. Blocks of one column with the weight 1 are the matrix itself.
#pragma once

#include <cstdint>
#include <numeric>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/moe/dense.h"

namespace moehill {

struct Projection {
  Projection() = default;
  // Blocks of `block` columns of n, the last one perhaps shorter. Weights are a function of (seed, n).
  Projection(int64_t n, int64_t block_width, uint32_t seed)
      : block(block_width), weight(static_cast<size_t>(n), 1.0f) {
    if (block == 1) return;
    for (size_t j = 0; j < weight.size(); ++j) {
      const double u =
          2 * random_uniform(seed, Stream::kProjection, (static_cast<uint64_t>(n) << 32) + j) - 1;
      weight[j] = static_cast<float>(u < 0 ? u - 0.5 : u + 0.5);
    }
  }

  int64_t num_columns() const { return static_cast<int64_t>(weight.size()); }
  int64_t num_blocks() const { return (num_columns() + block - 1) / block; }
  Range columns_of(int64_t b) const { return {b * block, std::min(num_columns(), (b + 1) * block)}; }

  // Projects one row [n]. It overwrites sum and squares [blocks].
  template <typename A, typename F>
  void project_row(const A* row, F* sum, F* squares) const {
    for (int64_t b = 0; b < num_blocks(); ++b) {
      const Range columns = columns_of(b);
      F s[8] = {}, q[8] = {};  // interleaved, as in dot()
      const auto add = [&](int64_t j, int64_t lane) {
        const F term = static_cast<F>(weight[static_cast<size_t>(j)]) * static_cast<F>(row[j]);
        s[lane] += term;
        q[lane] += term * term;
      };
      int64_t j = columns.begin;
      for (; j + 8 <= columns.end; j += 8) {
        for (int64_t lane = 0; lane < 8; ++lane) add(j + lane, lane);
      }
      for (; j < columns.end; ++j) add(j, 0);
      sum[b] = std::accumulate(s, s + 8, F{0});
      squares[b] = std::accumulate(q, q + 8, F{0});
    }
  }

  int64_t block = 1;
  std::vector<float> weight;  // [n]
};

// Both figures of a matrix.
template <typename F>
struct Projected {
  Dense<F> sum, squares;
  void reshape(int64_t rows, int64_t cols) {
    sum.reshape(rows, cols);
    squares.reshape(rows, cols);
  }
};

// a [rows, n] -> [rows, blocks].
template <typename F>
void project(ThreadTeam& team, const Projection& p, const Dense<F>& a, Projected<F>& out) {
  out.reshape(a.rows, p.num_blocks());
  team.parallel_for(a.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) p.project_row(a.row(r), out.sum.row(r), out.squares.row(r));
  });
}

// a [n, cols], whose rows are in blocks -> [blocks, cols].
template <typename F>
void project_rows(ThreadTeam& team, const Projection& p, const Dense<F>& a, Projected<F>& out) {
  out.reshape(p.num_blocks(), a.cols);
  team.parallel_for(p.num_blocks(), [&](int64_t begin, int64_t end) {
    for (int64_t b = begin; b < end; ++b) {
      F *sum = out.sum.row(b), *squares = out.squares.row(b);
      std::fill_n(sum, a.cols, F{0});
      std::fill_n(squares, a.cols, F{0});
      const Range rows = p.columns_of(b);
      for (int64_t j = rows.begin; j < rows.end; ++j) {
        const F w = static_cast<F>(p.weight[static_cast<size_t>(j)]);
        const F* source = a.row(j);
        for (int64_t c = 0; c < a.cols; ++c) {
          const F term = w * source[c];
          sum[c] += term;
          squares[c] += term * term;
        }
      }
    }
  });
}

}  // namespace moehill
