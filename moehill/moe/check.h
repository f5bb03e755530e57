// The check: every row of every result against the block computed by other means, and rows drawn by chance
// against the double-precision block.
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

// A wire adds this to the errors of results. The block is computed in double over rows as they arrive and
// over rows as they were sent, both times with the dy of the step. The differences are relative to the
// second: max is the largest of a row, rms that of all rows together.
struct WireError {
  int64_t tokens = 0;  // drawn; 0: no row has another form on its way
  double y_max = 0, y_rms = 0;
  double dx_max = 0, dx_rms = 0;  // 0 without a backward pass
};

// Returns "; the wire adds ..", or nothing.
std::string to_string(const WireError& error);

// The verdict is by rounding-error analysis (moe/audit.h): a number may be off by kMaxBounds roots of its
// variance, and the mean square of many numbers by their variance. So a right result whose terms cancel does
// not fail, and a wrong one does not hide in the norm of its row.
//
// rel_err of a tensor tells how accurate the result is and decides nothing: largest over its rows of
// |row - ref| / max(|ref row|, 1e-3 * median row norm), L2 norms; dp and dlogits: the floor is the median row
// norm itself. The median is over the rows compared whose reference is not zero.
// Rows: y, dx: a token's H values; dp: its k; dlogits: its E; dw1, dw3, ds1, ds3: (expert, h) over the
// columns compared; dw2, ds2: (expert, m) over H.
struct CheckResult {
  CheckStatus status = CheckStatus::off;
  // Every comparison is within its limit. True for passed; also for mistrusted: what there was to compare is
  // right, so that someone who expects empty experts may accept it.
  bool numbers_ok = false;
  // Some tensor's reference is zero altogether: it was compared with nothing.
  bool zero_reference = false;
  double forward_rel_err = 0;
  std::map<std::string, double> grad_rel_err;  // dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits
  std::string worst_row;                       // "dw1 expert 3 row 17: 2.1e-03": the largest rel_err
  std::string reason;                          // why failed or mistrusted, in words
  // The verdict rests on these.
  std::string what;              // the tensors, each with all of its rows: "y, dx, dp, dw1, ..."
  int64_t num_rows = 0;          // of them together
  std::string how;               // in words
  int64_t num_sampled_rows = 0;  // compared element by element with the double-precision block
  uint32_t seed = 0;             // of the projections and of the sample
  std::string worst_number;      // the largest error in units of its bound: "dx token 3 columns 64 to 127"
  double worst_bounds = 0;       // that error
  double seconds = 0;            // that the check took
  WireError wire;
};

// The contract's figures of accuracy: forward 1e-5 (f32), 1e-2 (bf16); gradients 2e-5, 2e-2. Results whose
// terms do not cancel keep them.
double forward_limit(DType dtype);
double gradient_limit(DType dtype);

// Both modes audit all rows of all tensors (moe/audit.h). `sample` compares f32 products through random
// projections, and 8 tokens and some experts' gradients with the double-precision block; `full`
// compares every element, in double. `seed` should be another one in each run, so that nobody knows the
// weights and the rows beforehand. Gradients take dy from the stored y, which is itself checked. Runs on
// `team`.
//
// mistrusted: a reference is zero altogether (but not dlogits with one choice, whose gate value is
// constant); the audit's own products do not hold; or, on a full check, an expert has no assignment, so that
// nothing vouches for its weights.
//
// Collective over the processes of the share, each with a team of its own: the first one has the result, the
// others an empty one.
CheckResult check_block(const CheckShare& share, Pass pass, CheckMode mode, uint32_t seed, ThreadTeam& team);
// Checks a block that this process has all of.
CheckResult check_block(const BlockTensors& tensors, Pass pass, CheckMode mode, uint32_t seed,
                        ThreadTeam& team);

// Bytes that a check takes besides the tensors.
double check_bytes(const MoeShape& shape, Pass pass, CheckMode mode, const Auditors& auditors);

}  // namespace moehill
