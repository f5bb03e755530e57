// Returns the overlap of two ranges. If there is none, the result is empty and begins at the later of the two
// beginnings.
#pragma once

#include <algorithm>

#include "moehill/base/partition.h"

namespace moehill {

inline Range overlap(Range a, Range b) {
  const int64_t begin = std::max(a.begin, b.begin);
  return {begin, std::max(begin, std::min(a.end, b.end))};
}

}  // namespace moehill
