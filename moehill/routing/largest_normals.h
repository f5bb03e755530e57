// LargestNormals finds the largest of many standard normal numbers without computing the numbers that are
// surely smaller. It makes top-k of millions of tokens several times faster, because most logits need no
// logarithm and no cosine.
//
//   LargestNormals largest(num_experts, topk);
//   largest.fill(seed, Stream::kLogits, first_index, row);   // row [num_experts]
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "moehill/base/rng.h"

namespace moehill {

// LargestNormals fills rows with random_normal(). The `count` largest numbers of a row have their values;
// smaller ones may be minus infinity. Equal values keep their order. A number that is replaced by minus
// infinity is below the `count` largest by more than the margin.
class LargestNormals {
 public:
  // The margin is 0, or less than usual_least().
  LargestNormals(int num, int count, double margin = 0);
  // Returns a number, not negative, above which the `count` largest of a row usually are.
  static double usual_least(int num, int count);
  int num() const { return num_; }
  // Fills row[i] with random_normal(seed, stream, first + i).
  void fill(uint32_t seed, Stream stream, uint64_t first, float* row);

 private:
  int num_, count_;
  float enough_ = 0;  // a row that has `count` values above this one is complete
  float least_ = 0;   // values up to this one need not be computed
  // An angle that is farther from 0 than this, in 2^-32 of a turn, gives no value above least_. The index is
  // the high byte of the radius's word.
  std::array<uint32_t, 256> farthest_angle_{};
  std::vector<uint32_t> radius_, angle_;  // [num] the words that give the values of a row
};

}  // namespace moehill
