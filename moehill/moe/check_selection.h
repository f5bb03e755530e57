// CheckSelection lists the rows that a check compares with the oracle, the block in double precision. It is a
// sample, so that the comparison takes seconds at any size.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/moe/tensors.h"

namespace moehill {

struct CheckSelection {
  std::vector<int64_t> tokens;          // rows of y, dx, dp, dlogits
  std::vector<int> experts;             // experts whose weight gradients are compared
  std::vector<int64_t> columns;         // some of the M columns of dW1 and dW3, and of the M rows of dW2
  std::vector<int64_t> shared_columns;  // some of the S columns
};

// Draws the sample. The lists depend only on (seed, shape, routing, kept); they are sorted and have no number
// twice. The sample has
//
//   - 8 tokens, drawn
//   - the expert with most rows, a drawn expert that has rows, and an expert without rows, if there is one,
//     whose gradients must be zero
//   - 16 columns, or 64 if the sums are over at most 1024 tokens: the first, the last, and drawn ones
//
//   const CheckSelection sample = select_sample(tensors, seed);
//   share.bring(TokensOfProcesses(share.tokens.size(), sample.tokens));
CheckSelection select_sample(const BlockTensors& tensors, uint32_t seed);

}  // namespace moehill
