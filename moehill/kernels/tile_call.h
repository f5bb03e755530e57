// TileCall has the arguments of one call of a register tile of the grouped GEMM: its operands and where they
// lie. All three kinds of tiles (gmm_tile-inl.h, dot_tile.h, amx_tile.h) take it.
#pragma once

#include <cstdint>

namespace moehill {

// Ahead is memory that a tile prefetches into L2 while it multiplies, one line in each step. The address
// begins at `at`, advances by `step` bytes, and by `jump` more after every `run` steps.
struct Ahead {
  const void* at = nullptr;
  int64_t step = 0, run = INT64_MAX, jump = 0;
};

// Fetch says what a tile prefetches while it multiplies: nothing, its own panels further on (stream), or the
// memory of TileCall::ahead.
enum class Fetch { nothing, stream, ahead };

// TileCall describes c (+)= a b. In step d of the depth, row i of the strip is at a[d * rows + i] (AMX has an
// order of its own, see amx_tile.h), and the 16 columns of panel p are at b + p * b_stride + d * 16. The sums
// of panel p are at c + p * c_stride, [rows][16].
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

// Without this guide, compilers such as clang 14 do not deduce the template arguments of aggregates.
template <typename A, typename B>
TileCall(int, int, const A*, const B*, int64_t, int64_t, float*, int64_t, bool) -> TileCall<A, B>;

// These are the distances in bytes at which a tile prefetches ahead of its loads when it streams panels from
// memory. Tiles on vectors of up to 8 lanes prefetch into L1 only. Tiles on wider vectors first prefetch far
// ahead into L2, which can have twice as many lines under way, and then into L1.
inline constexpr int64_t kStreamAhead = 8192, kStreamAheadL2 = 16384, kStreamAheadL1 = 1024;
// Tiles of at most this many rows leave the stream to the CPU's own prefetcher, which more requests would
// slow down.
inline constexpr int kRowsOfPlainStream = 4;

[[gnu::always_inline]] inline void prefetch_stream(const void* p) {
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL2, 0, 2);
  __builtin_prefetch(static_cast<const char*>(p) + kStreamAheadL1, 0, 3);
}

}  // namespace moehill
