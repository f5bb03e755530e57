// Loops over rows for the check (moe/audit.h), on the best SIMD target. They are plain loops of their own:
// the check must share no code with the kernels that it checks.
//
// All matrices are row-major without gaps. F is float or double.
#pragma once

#include <cstdint>

#include "moehill/tensor/dtype.h"

namespace moehill {

template <typename F>
struct AuditLoops {
  // c [m, n] += a [m, k] b [k, n].
  void (*add_product)(const F* a, const F* b, F* c, int64_t m, int64_t n, int64_t k);
  // c [m, n] = a [m, k] b [n, k]^T.
  void (*product_bt)(const F* a, const F* b, F* c, int64_t m, int64_t n, int64_t k);
  // The sum of squares of row [n].
  F (*norm_squared)(const F* row, int64_t n);
  // The sum of weight[i] row[i] in double, over [n].
  double (*dot)(const double* weight, const F* row, int64_t n);
  // sum[i] += factor row[i] in double, over [n].
  void (*add_scaled)(double factor, const F* row, double* sum, int64_t n);
  // Blocks of `block` columns of row [n], the last one perhaps shorter, each as
  // sum = sum over its columns of weight row, squares = sum of (weight row)^2.
  void (*project)(const F* row, const float* weight, int64_t n, int64_t block, F* sum, F* squares);
  // Blocks as above: sum of weight^2 row.
  void (*project_variance)(const F* row, const float* weight, int64_t n, int64_t block, F* sum);
  // One row [n] more of a matrix that is projected along its columns: norms += row^2, sum += weight row,
  // squares += (weight row)^2.
  void (*add_projected_row)(const F* row, F weight, int64_t n, F* norms, F* sum, F* squares);
};

// Loops that turn bf16 into f32.
struct AuditReaders {
  // Row [n].
  void (*widen)(const bf16* row, float* out, int64_t n);
  // `num_pairs` times two rows of 2 x 8 columns that lie in pairs (tensor/weight_stack.h), the pairs 32
  // values apart, into rows of out, `stride` apart. Sixteen columns are a whole line of the cache.
  void (*unpack_pairs)(const bf16* left, const bf16* right, int64_t num_pairs, float* out, int64_t stride);
};
const AuditReaders& audit_readers();

// F: float or double.
template <typename F>
const AuditLoops<F>& audit_loops();

}  // namespace moehill
