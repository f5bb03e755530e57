// The largest of many standard normals, without computing those that are surely smaller.
#pragma once

#include <array>
#include <cstdint>
#include <vector>

#include "moehill/base/rng.h"

namespace moehill {

// Fills rows of random_normal(): the `count` largest of a row have their values, smaller ones may be minus
// infinity. Which of two equal values comes first stays as it is.
class LargestNormals {
 public:
  LargestNormals(int num, int count);
  int num() const { return num_; }
  void fill(uint32_t seed, Stream stream, uint64_t first, float* row);

 private:
  int num_, count_;
  float least_ = 0;  // no value at or below it has to be there
  // Angles farther from 0, in 2^-32 of a turn, give no value above it; by the high byte of a radius's word.
  std::array<uint32_t, 256> farthest_angle_{};
  std::vector<uint32_t> radius_, angle_;  // [num] words of a row's values
};

}  // namespace moehill
