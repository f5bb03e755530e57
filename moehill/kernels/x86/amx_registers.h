// This header has the instructions of AMX, for amx_tile-inl.h. They are written as assembly for two reasons.
// The compiler's intrinsics take the number of a register as text, so it cannot be a template argument. And
// gcc 12's intrinsic for the configuration tells the compiler of only the first eight bytes that it reads, so
// the others might not be in memory yet.
#pragma once

#include <cstdint>

namespace moehill {

// TileConfig is the operand of LDTILECFG: the number of rows of each tile, and the bytes of a row.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {};
  uint8_t rows[16] = {};
};

// TileOps has the operations that amx_tile-inl.h asks for. Tiles 0 to 3 are sums, 4 and 5 are tiles of A, 6
// and 7 are tiles of B.
struct TileOps {
  // Configures the tiles for products of `steps` steps of depth, at most 16.
  static void begin(int steps) {
    TileConfig config;
    for (int i = 0; i < 8; ++i) {
      config.row_bytes[i] = static_cast<uint16_t>(i == 4 || i == 5 ? 4 * steps : 64);
      config.rows[i] = static_cast<uint8_t>(i >= 6 ? steps : 16);
    }
    asm volatile("ldtilecfg %0" ::"m"(config));
  }
  static void end() { asm volatile("tilerelease" ::: "memory"); }
  template <int kTile>
  static void zero() {
    asm volatile("tilezero %%tmm%c0" ::"i"(kTile));
  }
  template <int kTile>
  static void load(const void* p) {
    asm volatile("tileloadd (%0,%1,1), %%tmm%c2" ::"r"(p), "r"(int64_t{64}), "i"(kTile) : "memory");
  }
  template <int kTile>
  static void store(void* p) {
    asm volatile("tilestored %%tmm%c2, (%0,%1,1)" ::"r"(p), "r"(int64_t{64}), "i"(kTile) : "memory");
  }
  template <int kC, int kA, int kB>
  static void dot() {
    asm volatile("tdpbf16ps %%tmm%c2, %%tmm%c1, %%tmm%c0" ::"i"(kC), "i"(kA), "i"(kB));
  }
};

}  // namespace moehill
