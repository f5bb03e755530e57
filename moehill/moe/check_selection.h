// CheckSelection lists the rows that a check compares with the double-precision block: a sample that takes
// seconds at any size.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/moe/tensors.h"

namespace moehill {

struct CheckSelection {
  std::vector<int64_t> tokens;          // rows of y, dx, dp, dlogits
  std::vector<int> experts;             // experts whose weight gradients are compared
  std::vector<int64_t> columns;         // some of the M columns of dW1 and dW3, and these rows of dW2
  std::vector<int64_t> shared_columns;  // some of the S columns
};

// Draws the sample; the audit compares all rows. The lists depend only on (seed, shape, routing, kept); they
// are sorted and have no number twice. experts: the one with most rows, a drawn one that has rows, and one
// without rows (whose gradients must be zero), if there is one. columns: the first, the last and drawn ones,
// 16 together, or 64 if the sums are over at most 1024 tokens. tokens: 8 drawn ones.
//
//   const CheckSelection sample = select_sample(tensors, seed);
//   share.bring(TokensOfProcesses(share.tokens.size(), sample.tokens));
CheckSelection select_sample(const BlockTensors& tensors, uint32_t seed);

}  // namespace moehill
