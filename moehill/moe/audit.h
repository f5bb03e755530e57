// Audit: every row of y and dx, every dp and dlogits and every row of every weight gradient, compared with
// the block computed once more by other means. Nothing of what is audited is used: no plan, no kernel, no
// combine of ours, only the operands and the stored results.
//
// For each expert the products that the activation needs element by element (x W1, x W3, dy W2^T) are made by
// OpenBLAS (of few rows by plain loops), and each is itself held by a random projection in double. All other
// products are compared through projections (moe/projection.h), which makes them cheap: C = A B is compared
// as C r with A (B r). Experts are audited in strips of their columns (moe/audit_strip.h).
//
// Beside each number stands its variance by rounding-error analysis (moe/deviation.h), carried through the
// stages with these bounds, u being the unit round-off of the storage type, v that of f32:
//   a stored value a                       u |a|
//   a sum of n products a_i b_i in f32     v sqrt(n) |a| |b| (Euclidean norms)
//   h = a(g) b(u)                          a'(g) b(u) dg + a(g) b'(u) du, and 4 v |h| for the function itself
// Where dg may carry g over a limit, at which a' jumps, dg counts with the larger slope and a' may be off by
// the jump.
// What may be rounded is taken as rounded, in whatever order an implementation sums.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/block/options.h"
#include "moehill/moe/check_share.h"
#include "moehill/moe/dense.h"
#include "moehill/moe/deviation.h"

namespace moehill {

struct AuditOptions {
  // Blocks of one column and products in double: every element by itself. Else blocks of up to 64 columns and
  // products in f32, whose own roundings the bounds contain.
  bool exact = false;
  uint32_t seed = 0;  // of the projections' weights
};

struct TensorAudit {
  std::string tensor;           // y, dx, dw1, dw2, dw3, db1, db2, db3, ds1, ds2, ds3, dsg, dp, dlogits, dwg
  Deviations numbers;           // of the whole tensor
  bool zero_reference = false;  // every reference is zero: there was nothing to compare with
  std::string worst;            // where the worst number is, in words
  std::string failure;          // empty: every number, and every expert's mean, is within its bound
  double rel_err = 0;           // with `exact`: as CheckResult has it
  std::string worst_row;        // with `exact`: whose rel_err that is
};

struct AuditResult {
  // On the first process:
  std::vector<TensorAudit> tensors;
  // A product of OpenBLAS did not hold against its projection: nothing can be said.
  bool reference_holds = true;
  // [T], of the process's own tokens: the variance of a whole row: the expected square of the norm of its
  // error.
  std::vector<double> y_variance, dx_variance;
};

// Collective over the processes of the share.
AuditResult audit_block(const CheckShare& share, Pass pass, const AuditOptions& options, ThreadTeam& team);

// Bytes that the audit takes in each process besides the tensors.
double audit_bytes(const MoeShape& shape, Pass pass, bool exact, const Auditors& auditors);

}  // namespace moehill
