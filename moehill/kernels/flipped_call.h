// FlippedCall: what a tile of our grouped GEMM multiplies whose rows are rows of the weights, and whose
// columns are rows of the other operand.
#pragma once

#include <cstdint>

namespace moehill {

// Words of a step, and how often each row stands in them side by side: a step has width / copies rows, zeros
// where there are fewer. With two copies a vector holds sums of two rows of the weights.
struct FlippedShape {
  int width, copies;
};

// sums (+)= squares times rows. A square is 16 x 16 weights: row k has step d at k * 16 + d, or where words
// are pairs of values, at k / 2 * 16 + k % 2 + 2 * d. Squares follow each other, and so do their sums.
template <typename Word>
struct FlippedCall {
  const Word* squares;
  int count;  // of squares
  FlippedShape shape;
  const Word* rows;  // [steps][width]
  int steps;
  float* sums;
  bool accumulate;
  const char* ahead;  // as large as the squares, asked for into L2
};

// Sums of a square, and the place of weight row k and row r among them.
inline int num_sums(const FlippedShape& shape) { return 16 * shape.width / shape.copies; }
inline int sum_place(const FlippedShape& shape, int k, int r) {
  return k / shape.copies * shape.width + shape.copies * r + k % shape.copies;
}

}  // namespace moehill
