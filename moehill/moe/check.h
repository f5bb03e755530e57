// This header declares the check of a block. check_block compares every row of every result with the audit,
// which computes the block by other means (moe/audit.h). It compares some rows, which a seed chooses, with
// the block in double precision (moe/oracle.h). It measures no speed, and it does not change the results.
//
//   const CheckResult check = check_block(tensors, Pass::forward_backward, CheckMode::sample, seed, team);
//   if (check.status != CheckStatus::passed) std::puts(check.reason.c_str());
#pragma once

#include <map>
#include <string>

#include "moehill/block/options.h"
#include "moehill/moe/check_share.h"
#include "moehill/moe/row_comparison.h"

namespace moehill {

enum class CheckMode { off, sample, full };
constexpr auto words(CheckMode) { return std::array{"off", "sample", "full"}; }

enum class CheckStatus { off, passed, failed, mistrusted };
constexpr auto words(CheckStatus) { return std::array{"off", "passed", "failed", "mistrusted"}; }

// Returns 2 for failed, 1 for mistrusted and 0 for the others, so that the worst of several checks has the
// largest number.
inline int badness(CheckStatus status) {
  return status == CheckStatus::failed ? 2 : status == CheckStatus::mistrusted ? 1 : 0;
}

// WireError is the error that a wire (tensor/wire.h) adds to the results. The check computes the block twice
// in double: with rows as they arrive and with rows as they were sent, both times with the dy of the step.
// The differences are relative to the second result. `max` is the error of the worst row, and `rms` is the
// error of all rows together.
struct WireError {
  int64_t tokens = 0;  // tokens compared; 0: no row changes on its way
  double y_max = 0, y_rms = 0;
  double dx_max = 0, dx_rms = 0;  // 0 without a backward pass
};

// Returns "; the wire adds ..", or "" if no row changes on its way.
std::string to_string(const WireError& error);

// CheckResult is the verdict of a check, with the reasons for it. Rounding-error analysis decides
// (moe/audit.h, moe/deviation.h): a number may be off by kMaxBounds square roots of its variance, and the
// mean square of many errors may not be larger than their variances allow. So a right result whose terms
// cancel does not fail, and a wrong number cannot hide in the norm of its row.
//
// The relative error rel_err of a tensor says how accurate the result is, and decides nothing. It is the
// largest |row - ref| / max(|ref row|, 1e-3 * median row norm) of all rows, in L2 norms. For dp and dlogits
// the floor is the median row norm itself. The median is taken over the compared rows whose reference is not
// zero. A row is: for y and dx, the H values of a token; for dp, its k values; for dlogits, its E values; for
// dw1, dw3, ds1 and ds3, the compared columns of (expert, h); for dw2 and ds2, the H values of (expert, m).
struct CheckResult {
  CheckStatus status = CheckStatus::off;
  // True if every comparison is within its limit. This is so for "passed", and for "mistrusted" too if
  // everything that could be compared is right. A caller who expects experts without tokens may accept such a
  // result.
  bool numbers_ok = false;
  // True if the reference of some tensor is zero everywhere, so that it was compared with nothing.
  bool zero_reference = false;
  double forward_rel_err = 0;
  std::map<std::string, double> grad_rel_err;  // dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits
  std::string worst_row;  // the row with the largest rel_err: "dw1 expert 3 row 17: 2.1e-03"
  std::string reason;     // why it failed or is mistrusted, in words
  // The fields below give the basis of the verdict.
  std::string what;              // the tensors, each with all of its rows: "y, dx, dp, dw1, ..."
  int64_t num_rows = 0;          // rows of all tensors together
  std::string how;               // how they were compared, in words
  int64_t num_sampled_rows = 0;  // compared element by element with the double-precision block
  uint32_t seed = 0;             // of the projections and of the sample
  // The place of the largest error in units of its bound: "dx token 3 columns 64 to 127".
  std::string worst_number;
  double worst_bounds = 0;  // the size of that error, in its bounds
  double seconds = 0;       // the time that the check took
  // The process that checked a result with the same bits (measure/checked_results.h); empty: this one did.
  std::string same_bits_as;
  WireError wire;
};

// These functions return the limits of rel_err in docs/metrics.md: forward 1e-5 (f32) or 1e-2 (bf16),
// gradients 2e-5 or 2e-2. Results whose terms do not cancel are within them.
double forward_limit(DType dtype);
double gradient_limit(DType dtype);

// Checks a block. Both modes audit all rows of all tensors (moe/audit.h). `sample` compares f32 products
// through random projections, and compares 8 tokens and some experts' gradients with the double-precision
// block. `full` compares every element, in double. `seed` should differ from run to run, so that the rows and
// the weights of projections cannot be known in advance. The reference gradients come from the stored y,
// which is checked itself. The work runs on `team`.
//
// The result is "mistrusted" in three cases: the reference of a tensor is zero everywhere (except dlogits
// with one choice, whose gate value is constant), the reference of an expert is zero in all of its rows, or a
// product that the audit made itself is wrong. An expert without assignments passes if its gradients are
// zero.
//
// The call is collective over the processes of the share, each with its own team. The first process gets the
// result, the others an empty one.
CheckResult check_block(const CheckShare& share, Pass pass, CheckMode mode, uint32_t seed, ThreadTeam& team);
// Checks a block that this process has completely.
CheckResult check_block(const BlockTensors& tensors, Pass pass, CheckMode mode, uint32_t seed,
                        ThreadTeam& team);

// Joins the verdicts on the two parts of a block whose experts have another width (`latent`). The findings of
// the experts' part say that they are in rows of that width.
CheckResult join_parts(const CheckResult& rest, const CheckResult& experts);

// Returns how many bytes a check takes in each process besides the tensors.
double check_bytes(const MoeShape& shape, Pass pass, CheckMode mode, const Auditors& auditors);

}  // namespace moehill
