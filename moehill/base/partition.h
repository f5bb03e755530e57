// This header cuts ranges into contiguous shares: it says which tokens, experts or bytes belong to which
// device or thread. Ranges are half open, [begin, end).
//
//   for (const int64_t device : {0, 1, 2}) share(8, device, 3);  // [0, 2), [2, 5), [5, 8)
#pragma once

#include <algorithm>
#include <cstddef>
#include <cstdint>

namespace moehill {

// Range is a run of numbers, such as the tokens of a device.
struct Range {
  int64_t begin = 0, end = 0;
  int64_t size() const { return end - begin; }
};

// Returns true if all of `part` is in `range`. An empty part is in every range.
inline bool contains(Range range, Range part) {
  return part.size() == 0 || (range.begin <= part.begin && part.end <= range.end);
}
// Returns the smallest range that contains both. An empty range counts for nothing.
inline Range hull(Range a, Range b) {
  if (a.size() == 0) return b;
  if (b.size() == 0) return a;
  return {std::min(a.begin, b.begin), std::max(a.end, b.end)};
}

// Makes the index of a standard container from a signed index. The library's indices are signed, so that they
// can be subtracted.
inline size_t idx(int64_t i) { return static_cast<size_t>(i); }

// Cuts [0, n) into `num_shares` contiguous shares and returns share i. The sizes differ by at most one, and
// the larger shares are spread evenly. n * num_shares must fit in 63 bits.
inline Range share(int64_t n, int64_t i, int64_t num_shares) {
  return {n * i / num_shares, n * (i + 1) / num_shares};
}

}  // namespace moehill
