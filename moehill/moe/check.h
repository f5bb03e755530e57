// The check: every result against the double-precision block, judged by its worst row.
#pragma once

#include <map>
#include <string>

#include "moehill/moe/tensors.h"
#include "moehill/moe/options.h"

namespace moehill {

enum class CheckMode { off, sample, full };

// status: passed, failed, mistrusted, off (contract). rel_err of a tensor: largest over its rows of
// |row - ref| / max(|ref row|, 1e-3 * median row norm), L2 norms; dp: the floor is the median row norm itself.
struct CheckResult {
  std::string status = "off";
  double forward_rel_err = 0;
  std::map<std::string, double> grad_rel_err;  // dx, dw1, dw2, dw3, ds1, ds2, ds3, dp, dlogits
  std::string worst_row;                       // "dw1 expert 3 row 17: 2.1e-03"
  std::string reason;                          // why failed or mistrusted, in words
};

// Limits of the contract: forward 1e-5 (f32), 1e-2 (bf16); gradients 2e-5, 2e-2.
double forward_limit(DType dtype);
double gradient_limit(DType dtype);

// `full` computes every row of every tensor in double; `sample` takes, from the seed, at least 16 tokens (the first and the
// last among them) for y, dx, dp, and for weight gradients a few experts (largest, smallest non-empty, two more) and 16 of
// their columns (dW1, dW3, dS1, dS3) or rows (dW2, dS2), so that it takes seconds at any size. Gradients take dy from the
// stored y, which is itself checked. Runs on `team`.
CheckResult check_block(const BlockTensors& tensors, Pass pass, CheckMode mode, uint32_t seed, ThreadTeam& team);

}  // namespace moehill
