// line_share() cuts a range into shares at whole cache lines, so that two threads never write to the same
// line. Where that does not matter, base/partition.h is enough.
//
//   line_share({0, n}, i, num_threads, kLineElements);
#pragma once

#include <algorithm>
#include <cstdint>

#include "moehill/base/partition.h"

namespace moehill {

// 32 elements are 64 bytes of bf16 or 128 bytes of f32: whole lines of either.
inline constexpr int64_t kLineElements = 32;
inline constexpr int64_t kLineBytes = 64;

// Returns share i of [begin, end), cut at multiples of `line` counted from 0.
inline Range line_share(Range range, int64_t i, int64_t num_shares, int64_t line) {
  const int64_t first = range.begin / line;
  const Range lines = share((range.end + line - 1) / line - first, i, num_shares);
  const int64_t begin = std::clamp((first + lines.begin) * line, range.begin, range.end);
  const int64_t end = std::clamp((first + lines.end) * line, range.begin, range.end);
  return {begin, end};
}

}  // namespace moehill
