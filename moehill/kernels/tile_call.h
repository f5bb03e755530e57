// TileCall: what one call of a register tile of the grouped GEMM multiplies, and where it lies. All three
// kinds of tiles (gmm_tile-inl.h, dot_tile.h, amx_tile.h) take it.
#pragma once

#include <cstdint>

namespace moehill {

// Memory that a tile prefetches into L2 while it multiplies, one line in each step. The address begins at
// `at`, advances by `step` bytes, and by `jump` more after every `run` steps.
struct Ahead {
  const void* at = nullptr;
  int64_t step = 0, run = INT64_MAX, jump = 0;
};

// A tile prefetches one of these while it multiplies: nothing, its own panels further on (stream), or the
// memory of TileCall::ahead.
enum class Fetch { nothing, stream, ahead };

// c (+)= a b. In step d of the depth, row i of the strip is at a[d * rows + i], and the 16 columns of panel p
// are at b + p * b_stride + d * 16. The sums of panel p are at c + p * c_stride, [rows][16].
template <typename A, typename B>
struct TileCall {
  int rows, panels;
  const A* a;
  const B* b;
  int64_t b_stride, depth;
  float* c;
  int64_t c_stride;
  bool accumulate;
  Ahead ahead{b};
};

// Compilers such as clang 14 do not deduce template arguments of aggregates without this.
template <typename A, typename B>
TileCall(int, int, const A*, const B*, int64_t, int64_t, float*, int64_t, bool) -> TileCall<A, B>;

// The distance in bytes at which a tile prefetches ahead of its loads when it streams panels from memory.
// Tiles of up to 8 lanes prefetch into L1 only. The others first prefetch far ahead into L2, which can have
// twice as many lines under way, and then into L1.
inline constexpr int64_t kStreamAhead = 8192, kStreamAheadL2 = 16384, kStreamAheadL1 = 1024;
// Tiles of so few rows leave the stream to the CPU's own prefetcher, which more requests would slow down.
inline constexpr int kRowsOfPlainStream = 4;

[[gnu::always_inline]] inline void prefetch_stream(const void* p) {
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL2, 0, 2);
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL1, 0, 3);
}

}  // namespace moehill
