// This header has loops over rows for the check (moe/audit.h), on the best SIMD target. They are deliberately
// not the loops of the kernels: a check must share no code with the step that it checks. A step must not use
// them.
//
// All matrices are row-major and without gaps. F is float or double.
//
//   const AuditLoops<double>& loops = audit_loops<double>();
//   loops.product_bt(a, b, c, m, n, k);   // c [m, n] = a [m, k] b [n, k]^T
#pragma once

#include <cstdint>

#include "moehill/tensor/dtype.h"

namespace moehill {

// AuditLoops is a table of functions, which is chosen once for the CPU.
template <typename F>
struct AuditLoops {
  // c [m, n] += a [m, k] b [k, n].
  void (*add_product)(const F* a, const F* b, F* c, int64_t m, int64_t n, int64_t k);
  // c [m, n] = a [m, k] b [n, k]^T.
  void (*product_bt)(const F* a, const F* b, F* c, int64_t m, int64_t n, int64_t k);
  // Returns the sum of squares of row [n].
  F (*norm_squared)(const F* row, int64_t n);
  // Returns the sum over [n] of weight[i] row[i], in double.
  double (*dot)(const double* weight, const F* row, int64_t n);
  // sum[i] += factor row[i] over [n], in double.
  void (*add_scaled)(double factor, const F* row, double* sum, int64_t n);
  // Projects row [n] by blocks of `block` columns (the last block may be shorter). For each block it writes
  // sum = sum over its columns of weight[i] row[i], and squares = sum of (weight[i] row[i])^2.
  void (*project)(const F* row, const float* weight, int64_t n, int64_t block, F* sum, F* squares);
  // Writes the variance of such a projection for a row of variances: sum = sum of weight[i]^2 row[i] for each
  // block.
  void (*project_variance)(const F* row, const float* weight, int64_t n, int64_t block, F* sum);
  // Adds one row [n] of a matrix whose columns are projected: norms[i] += row[i]^2, sum[i] += weight row[i],
  // squares[i] += (weight row[i])^2.
  void (*add_projected_row)(const F* row, F weight, int64_t n, F* norms, F* sum, F* squares);
};

// AuditReaders are loops that turn bf16 into f32.
struct AuditReaders {
  // Writes row [n] as f32.
  void (*widen)(const bf16* row, float* out, int64_t n);
  // Reads `num_pairs` pairs of panel rows (tensor/weight_stack.h), and writes them as rows of `out`, `stride`
  // values apart. `left` and `right` point to 8 columns each, and pairs are 32 values apart. The 16 columns
  // of an output row fill a whole cache line.
  void (*unpack_pairs)(const bf16* left, const bf16* right, int64_t num_pairs, float* out, int64_t stride);
};
const AuditReaders& audit_readers();

// F is float or double.
template <typename F>
const AuditLoops<F>& audit_loops();

}  // namespace moehill
