// Dense products through OpenBLAS: the yardstick that the grouped GEMM is compared with, and the products of
// the check, which must not share a kernel with what it checks.
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

// c [m, n] = a [m, k] b [k, n], all f32 and tight. Each thread multiplies its share of the rows by one sgemm.
void dense_gemm(ThreadTeam& team, const MatView& a, const MatView& b, const MatView& c);

// A row-major matrix without gaps between its rows.
template <typename T>
struct DenseView {
  T* data;
  int64_t rows, cols;
};

enum class DenseForm {
  ab,   // c [m, n] = a [m, k] b [k, n]
  atb,  // c [m, n] = a [k, m]^T b [k, n]
  abt,  // c [m, n] = a [m, k] b [n, k]^T
};

// One product by one BLAS call of the calling thread. With `add` it is added to c.
void dense_product(DenseForm form, DenseView<const float> a, DenseView<const float> b, DenseView<float> c,
                   bool add);
void dense_product(DenseForm form, DenseView<const double> a, DenseView<const double> b, DenseView<double> c,
                   bool add);

}  // namespace moehill
