// TileCall: what one call of a register tile of our grouped GEMM multiplies, and where.
#pragma once

#include <cstdint>

namespace moehill {

// Lines that a tile asks for into L2 while it multiplies, one in each step: at `at`, which moves on by `step`
// bytes, and by `jump` more after every `run` steps.
struct Ahead {
  const void* at = nullptr;
  int64_t step = 0, run = INT64_MAX, jump = 0;
};

// A tile prefetches nothing while it multiplies, its own panels further on, or the memory of TileCall::ahead.
enum class Fetch { nothing, stream, ahead };

// c (+)= a b. Step d of the depth: the strip has row i at a[d * rows + i], and panel p its 16 columns at b +
// p * b_stride + d * 16. Sums of panel p lie at c + p * c_stride, [rows][16].
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

// For compilers that deduce nothing for aggregates, such as clang 14.
template <typename A, typename B>
TileCall(int, int, const A*, const B*, int64_t, int64_t, float*, int64_t, bool) -> TileCall<A, B>;

// Bytes that a tile which streams its panels from memory asks for ahead of its loads: into L1 alone, with up
// to 8 lanes, or far ahead into L2, which has twice as many lines under way, and then into L1.
inline constexpr int64_t kStreamAhead = 8192, kStreamAheadL2 = 16384, kStreamAheadL1 = 1024;
// Tiles of so few rows leave a stream to the CPU's own prefetching, which more requests would slow down.
inline constexpr int kRowsOfPlainStream = 4;

[[gnu::always_inline]] inline void prefetch_stream(const void* p) {
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL2, 0, 2);
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL1, 0, 3);
}

}  // namespace moehill
