// What the audit does with whole matrices: products by OpenBLAS, squares, sums, and weights read out of their
// layout.
#pragma once

#include <algorithm>
#include <vector>

#include "moehill/kernels/dense_gemm.h"
#include "moehill/moe/expert_columns.h"

namespace moehill {

template <typename T>
DenseView<const T> view(const Dense<T>& m) {
  return {m.values.data(), m.rows, m.cols};
}

template <typename F>
void multiply(ThreadTeam& team, DenseForm form, const Dense<F>& a, const Dense<F>& b, Dense<F>& c,
              bool add = false) {
  const int64_t rows = form == DenseForm::atb ? a.cols : a.rows;
  const int64_t cols = form == DenseForm::abt ? b.rows : b.cols;
  if (!add) c.reshape(rows, cols);
  dense_product(team, form, view(a), view(b), {c.values.data(), rows, cols}, add);
}

template <typename F>
void square(ThreadTeam& team, const Dense<F>& a, Dense<F>& out) {
  out.reshape(a.rows, a.cols);
  team.parallel_for(a.rows * a.cols, [&](int64_t begin, int64_t end) {
    const F* from = a.values.data();
    F* to = out.values.data();
    for (int64_t i = begin; i < end; ++i) to[i] = from[i] * from[i];
  });
}

// sum += part, elementwise.
template <typename F>
void accumulate(const Dense<F>& part, Dense<double>& sum) {
  for (size_t i = 0; i < part.values.size(); ++i) sum.values[i] += static_cast<double>(part.values[i]);
}

template <typename F>
void read_matrix(ThreadTeam& team, const LogicalWeights& weights, int64_t group, Dense<F>& out) {
  out.reshape(weights.rows(), weights.num_columns);
  team.parallel_for(out.rows, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(weights.num_columns));
    for (int64_t r = begin; r < end; ++r) {
      read_row(weights, group, r, row.data());
      std::copy(row.begin(), row.end(), out.row(r));
    }
  });
}

}  // namespace moehill
