// FlippedCall has the arguments of a tile call whose rows are rows of the weights, and whose columns are rows
// of the other operand. The input gradient of few rows uses it (gmm_flipped-inl.h explains why).
#pragma once

#include <cstdint>

namespace moehill {

// FlippedShape is the form of one step of the other operand: `width` words, in which each row stands `copies`
// times side by side. So a step has width / copies rows; missing rows are zeros. With two copies, a vector
// holds the sums of two rows of the weights.
struct FlippedShape {
  int width, copies;
};

// FlippedCall computes sums (+)= squares times rows. A square is 16 x 16 weights: row k has step d at k * 16
// + d or, if words are pairs of values, at k / 2 * 16 + k % 2 + 2 * d. Squares follow one another in memory,
// and so do their sums.
template <typename Word>
struct FlippedCall {
  const Word* squares;
  int count;  // number of squares
  FlippedShape shape;
  const Word* rows;  // [steps][width]
  int steps;
  float* sums;
  bool accumulate;
  const char* ahead;  // memory of the same size as the squares, which is prefetched into L2
};

// num_sums() is the number of sums of one square. sum_place() is the position among them of the sum of weight
// row k and row r.
inline int num_sums(const FlippedShape& shape) { return 16 * shape.width / shape.copies; }
inline int sum_place(const FlippedShape& shape, int k, int r) {
  return k / shape.copies * shape.width + shape.copies * r + k % shape.copies;
}

}  // namespace moehill
