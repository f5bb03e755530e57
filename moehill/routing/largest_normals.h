// The largest of many standard normal numbers, without computing those that are surely smaller. Choosing
// top-k of millions of tokens is several times faster with it, because most logits need no logarithm and no
// cosine.
//
//   LargestNormals largest(num_experts, topk);
//   largest.fill(seed, Stream::kLogits, first_index, row);   // row [num_experts]
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "moehill/base/rng.h"

namespace moehill {

// Fills rows with random_normal(). The `count` largest of a row have their exact values; smaller ones may be
// minus infinity. Equal values keep their order.
class LargestNormals {
 public:
  // num: values of a row; count: how many of them must be exact.
  LargestNormals(int num, int count);
  int num() const { return num_; }
  // Fills row[i] with random_normal(seed, stream, first + i).
  void fill(uint32_t seed, Stream stream, uint64_t first, float* row);

 private:
  int num_, count_;
  float least_ = 0;  // values up to this one need not be computed
  // The angle beyond which a value cannot exceed least_, in 2^-32 of a turn from 0. The index is the high
  // byte of the word that gives the radius.
  std::array<uint32_t, 256> farthest_angle_{};
  std::vector<uint32_t> radius_, angle_;  // [num] the words that give the values of a row
};

}  // namespace moehill
