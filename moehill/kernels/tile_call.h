// TileCall: what one call of a register tile of our grouped GEMM multiplies, and where.
#pragma once

#include <cstdint>

namespace moehill {

// c (+)= a b. Step d of the depth: the strip has row i at a[d * R + i] where R are the rows of a full tile,
// and panel p its 16 columns at b + p * b_stride + d * 16. Sums of panel p lie at c + p * c_stride,
// [rows][16].
template <typename A, typename B>
struct TileCall {
  int rows, panels;
  const A* a;
  const B* b;
  int64_t b_stride, depth;
  float* c;
  int64_t c_stride;
  bool accumulate;
};

// Bytes that a tile which streams its panels from memory asks for ahead of its loads: into L1 alone, or far
// ahead into L2, which has twice as many lines under way, and then into L1.
inline constexpr int64_t kStreamAhead = 8192, kStreamAheadL2 = 16384, kStreamAheadL1 = 2048;

inline void prefetch_stream(const void* p) {
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL2, 0, 2);
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL1, 0, 3);
}

}  // namespace moehill
