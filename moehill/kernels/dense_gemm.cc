#include "moehill/kernels/dense_gemm.h"

#include <cblas.h>

#include "moehill/kernels/blas_thread.h"

namespace moehill {

void dense_gemm(ThreadTeam& team, const MatView& a, const MatView& b, const MatView& c) {
  team.parallel_for(a.rows, [&](int64_t begin, int64_t end) {
    keep_blas_on_this_thread();
    cblas_sgemm(CblasRowMajor, CblasNoTrans, CblasNoTrans, static_cast<int>(end - begin),
                static_cast<int>(b.cols), static_cast<int>(a.cols), 1, a.row<float>(begin),
                static_cast<int>(a.stride), b.row<float>(0), static_cast<int>(b.stride), 0,
                c.row<float>(begin), static_cast<int>(c.stride));
  });
}

}  // namespace moehill
