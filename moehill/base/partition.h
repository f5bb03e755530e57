// Contiguous shares of a range: who owns which tokens, experts or bytes.
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace moehill {

struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

inline bool contains(Range range, Range part) {
  return part.size() == 0 || (range.begin <= part.begin && part.end <= range.end);
}
// Both of them, and what is between.
inline Range hull(Range a, Range b) {
  if (a.size() == 0) return b;
  if (b.size() == 0) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// Makes an index of a standard container from one of ours, which are signed so that they can be subtracted.
inline size_t idx(int64_t i) { return static_cast<size_t>(i); }

// Share i of [0, n) cut into num_shares contiguous parts that differ by at most one; the larger parts come
// spread out.
inline Range share(int64_t n, int64_t i, int64_t num_shares) {
  return {n * i / num_shares, n * (i + 1) / num_shares};
}

}  // namespace moehill
