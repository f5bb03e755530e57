// The check: every result against the double-precision block, judged by its worst row.
#pragma once

#include <map>
#include <string>

#include "moehill/moe/options.h"
#include "moehill/moe/row_comparison.h"
#include "moehill/moe/tensors.h"

namespace moehill {

enum class CheckMode { off, sample, full };

// status: passed, failed, mistrusted, off (contract). rel_err of a tensor: largest over its rows of
// |row - ref| / max(|ref row|, 1e-3 * median row norm), L2 norms; dp and dlogits: the floor is the median row
// norm itself. The median is over the rows compared whose reference is not zero; a row with a zero reference
// must be zero. An error is infinite where a NaN or an infinity is met.
// Rows: y, dx: a token's H values; dp: its k; dlogits: its E; dw1, dw3, ds1, ds3: (expert, h) over the
// columns compared; dw2, ds2: (expert, m) over H.
struct CheckResult {
  std::string status = "off";
  // Every comparison is within its limit. True for passed; also for mistrusted: what there was to compare is
  // right, so that someone who expects empty experts may accept it.
  bool numbers_ok = false;
  // Some tensor's reference is zero altogether: it was compared with nothing.
  bool zero_reference = false;
  double forward_rel_err = 0;
  std::map<std::string, double> grad_rel_err;  // dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits
  std::string worst_row;                       // "dw1 expert 3 row 17: 2.1e-03"; worst against its limit
  std::string reason;                          // why failed or mistrusted, in words
};

// Limits of the contract: forward 1e-5 (f32), 1e-2 (bf16); gradients 2e-5, 2e-2.
double forward_limit(DType dtype);
double gradient_limit(DType dtype);

// `full` computes every row of every tensor in double; `sample` takes, from the seed, at least 16 tokens (the
// first and the last among them) for y, dx, dp, and for weight gradients a few experts (largest, smallest
// non-empty, two more) and 16 of their columns (dW1, dW3, dS1, dS3) or rows (dW2, dS2), so that it takes
// seconds at any size. Gradients take dy from the stored y, which is itself checked. Runs on `team`.
//
// mistrusted: a reference is zero altogether (but not dlogits with one choice, whose gate value is
// constant), or, on a full check, an expert has no assignment, so that nothing vouches for its weights.
CheckResult check_block(const BlockTensors& tensors, Pass pass, CheckMode mode, uint32_t seed,
                        ThreadTeam& team);

}  // namespace moehill
