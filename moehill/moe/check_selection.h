// The rows that a check compares with the double-precision block: a sample, which takes seconds at any size.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/moe/tensors.h"

namespace moehill {

struct CheckSelection {
  std::vector<int64_t> tokens;          // rows of y, dx, dp, dlogits
  std::vector<int> experts;             // whose weight gradients
  std::vector<int64_t> columns;         // of M: columns of dW1, dW3, rows of dW2
  std::vector<int64_t> shared_columns;  // of S
};

// Draws what is compared with the double-precision block; all rows are the audit's part. The lists depend on
// (seed, shape, routing, kept) alone, rise, and repeat nothing. experts: the largest, a drawn one that is not
// empty, and one empty one (whose gradients must be zero) if there is one. columns: the first, the last, and
// drawn ones: 16 together, 64 where the sums are over at most 1024 tokens. tokens: 8 drawn ones.
CheckSelection select_sample(const BlockTensors& tensors, uint32_t seed);

}  // namespace moehill
