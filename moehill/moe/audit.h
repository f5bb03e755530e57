// The audit computes the block a second time by other means, and compares every row of y and dx, every dp and
// dlogits, and every row of every weight gradient. It uses no plan, no kernel and no combine of the library,
// only the operands and the stored results. It is not the oracle (moe/oracle.h), which is simpler but too
// slow for all rows.
//
//   const AuditResult result = audit_block(share, Pass::forward_backward, {.seed = seed}, team);
//   for (const TensorAudit& tensor : result.tensors) print(tensor.tensor, tensor.failure);
//
// The activation needs the products x W1, x W3 and dy W2^T of an expert element by element. OpenBLAS makes
// them (for few rows plain loops do), and a random projection in double checks each of them. For any other
// product C = A B the audit compares C r with A (B r), where r is a random projection (moe/projection.h);
// this makes it cheap. It takes an expert in strips of its columns (moe/audit_strip.h).
//
// Each number has a variance from rounding-error analysis (moe/deviation.h). The audit carries the variance
// through the stages with these bounds, where u is the unit round-off of the storage type and v is the unit
// round-off of f32:
//   a stored value a                       u |a|
//   a sum of n products a_i b_i in f32     v sqrt(n) |a| |b| (Euclidean norms)
//   h = a(g) b(u)                          a'(g) b(u) dg + a(g) b'(u) du, and 4 v |h| for the function itself
// At a limit the derivative a' jumps. If the error dg may carry g over the limit, dg counts with the larger
// slope, and a' may be wrong by the jump. The audit takes every number as rounded that an implementation may
// round, and allows any order of summation.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/block/options.h"
#include "moehill/moe/check_share.h"
#include "moehill/moe/dense.h"
#include "moehill/moe/deviation.h"

namespace moehill {

// AuditOptions say how closely an audit looks, and by which random weights.
struct AuditOptions {
  // true: blocks of one column and products in double, so that every element is compared by itself. false:
  // blocks of up to 64 columns and products in f32, whose own rounding errors the bounds contain.
  bool exact = false;
  uint32_t seed = 0;  // decides the weights of the projections
};

// TensorAudit is the result for one tensor.
struct TensorAudit {
  std::string tensor;           // y, dx, dw1, dw2, dw3, db1, db2, db3, ds1, ds2, ds3, dsg, dp, dlogits, dwg
  Deviations numbers;           // deviations over the whole tensor
  bool zero_reference = false;  // every reference value is zero, so there was nothing to compare with
  std::string worst;            // the place of the worst number, in words
  std::string failure;          // empty: every number, and every expert's mean, is within its bound
  double rel_err = 0;           // with `exact`: the same as in CheckResult
  std::string worst_row;        // with `exact`: the row that has this rel_err
};

// AuditResult is the result for a block.
struct AuditResult {
  // The tensors are filled on the first process only.
  std::vector<TensorAudit> tensors;
  // False: a product that the audit made itself did not agree with its projection, so the audit proves
  // nothing.
  bool reference_holds = true;
  // An expert that has rows and whose outputs are zero in all of them, as with weights that are zero; -1:
  // none. Set on the first process.
  int64_t zero_expert = -1;
  // [T], set for the process's own tokens: the variance of a whole row, that is, the expected square of the
  // norm of its error.
  std::vector<double> y_variance, dx_variance;
};

// Audits a block. Collective over the processes of the share.
AuditResult audit_block(const CheckShare& share, Pass pass, const AuditOptions& options, ThreadTeam& team);

// Returns the bytes that the audit takes in each process in addition to the tensors.
double audit_bytes(const MoeShape& shape, Pass pass, bool exact, const Auditors& auditors);

}  // namespace moehill
