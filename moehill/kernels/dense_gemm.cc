#include "moehill/kernels/dense_gemm.h"

#include "moehill/base/error.h"
#include "moehill/kernels/blas.h"

namespace moehill {
namespace {

// BlasCall is one call of BLAS: c [m, n] = a b + beta c with the transposes of `form`. lda, ldb and ldc are
// the leading dimensions.
template <typename T>
struct BlasCall {
  DenseForm form;
  int m, n, k;
  const T *a, *b;
  T* c;
  int lda, ldb, ldc;
  T beta;
};

CBLAS_TRANSPOSE transposed_if(bool condition) { return condition ? CblasTrans : CblasNoTrans; }

void call_blas(const BlasCall<float>& p) {
  blas_on_this_thread().sgemm(CblasRowMajor, transposed_if(p.form == DenseForm::atb),
                              transposed_if(p.form == DenseForm::abt), p.m, p.n, p.k, 1, p.a, p.lda, p.b,
                              p.ldb, p.beta, p.c, p.ldc);
}

void call_blas(const BlasCall<double>& p) {
  blas_on_this_thread().dgemm(CblasRowMajor, transposed_if(p.form == DenseForm::atb),
                              transposed_if(p.form == DenseForm::abt), p.m, p.n, p.k, 1, p.a, p.lda, p.b,
                              p.ldb, p.beta, p.c, p.ldc);
}

template <typename T>
void product(DenseForm form, DenseView<const T> a, DenseView<const T> b, DenseView<T> c, bool add) {
  const int64_t depth = form == DenseForm::atb ? a.rows : a.cols;
  MOEHILL_CHECK((form == DenseForm::abt ? b.cols : b.rows) == depth, "a product over {} and {}", depth,
                form == DenseForm::abt ? b.cols : b.rows);
  if (c.rows == 0 || c.cols == 0) return;
  call_blas(BlasCall<T>{form, static_cast<int>(c.rows), static_cast<int>(c.cols), static_cast<int>(depth),
                        a.data, b.data, c.data, static_cast<int>(a.cols), static_cast<int>(b.cols),
                        static_cast<int>(c.cols), add ? T{1} : T{0}});
}

}  // namespace

void dense_gemm(ThreadTeam& team, const MatView& a, const MatView& b, const MatView& c) {
  team.parallel_for(c.rows, [&](int64_t begin, int64_t end) {
    product<float>(DenseForm::ab, {a.row<float>(begin), end - begin, a.cols},
                   {b.row<float>(0), b.rows, b.cols}, {c.row<float>(begin), end - begin, c.cols}, false);
  });
}

void dense_product(DenseForm form, DenseView<const float> a, DenseView<const float> b, DenseView<float> c,
                   bool add) {
  product<float>(form, a, b, c, add);
}

void dense_product(DenseForm form, DenseView<const double> a, DenseView<const double> b, DenseView<double> c,
                   bool add) {
  product<double>(form, a, b, c, add);
}

}  // namespace moehill
