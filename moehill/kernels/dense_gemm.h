// This header has dense products by OpenBLAS. The harness measures the grouped GEMM beside them, and the
// check multiplies with them, because it must not share a kernel with the step that it checks. They are no
// part of a step; the block's own products are in grouped_gemm.h.
//
//   dense_gemm(team, a, b, c);   // c [m, n] = a [m, k] b [k, n]
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

// Computes c [m, n] = a [m, k] b [k, n]. All are f32 without gaps between rows. Each thread multiplies its
// share of the rows by one call of sgemm.
void dense_gemm(ThreadTeam& team, const MatView& a, const MatView& b, const MatView& c);

// DenseView is a view of a row-major matrix without gaps between its rows.
template <typename T>
struct DenseView {
  T* data;
  int64_t rows, cols;
};

// DenseForm says which operand of a product is read as its transpose.
enum class DenseForm {
  ab,   // c [m, n] = a [m, k] b [k, n]
  atb,  // c [m, n] = a [k, m]^T b [k, n]
  abt,  // c [m, n] = a [m, k] b [n, k]^T
};

// Makes one product by one BLAS call of the calling thread. With `add`, the product is added to c instead of
// replacing it.
void dense_product(DenseForm form, DenseView<const float> a, DenseView<const float> b, DenseView<float> c,
                   bool add);
void dense_product(DenseForm form, DenseView<const double> a, DenseView<const double> b, DenseView<double> c,
                   bool add);

}  // namespace moehill
