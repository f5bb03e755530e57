// This header has the register tile of this library's grouped GEMM for AMX, which multiplies tiles of 16 x 16
// pairs of bf16. The other register tiles are gmm_tile-inl.h (f32) and dot_tile.h (AVX512_BF16).
//
// A call has up to 32 rows and two panels, and uses four tiles of sums, two of A and two of B. 16 steps of
// depth of a panel of pairs (tensor/weight_stack.h) form a tile of B without being moved. A strip of A is
// packed so that the rows of a tile are 64 bytes each: step d of row i lies at (d / 16 * 32 + i) * 16 + d %
// 16. The last 16 steps of a strip may be incomplete.
//
//   if (const AmxTile* tile = amx_tile()) {
//     const AmxScope registers(*tile);   // once for a product
//     tile->sums(call, false);           // for each tile
//   }
#pragma once

#include "moehill/kernels/tile_call.h"

namespace moehill {

inline constexpr int kAmxRows = 32, kAmxPanels = 2, kAmxSteps = 16;

// AmxTile is a table of the tile's functions. It is a table so that the CPU's tile and the emulated one
// (dot_emulation.h) have the same type.
struct AmxTile {
  // begin() configures the tile registers of the calling thread and end() releases them. Both wait for all
  // earlier instructions, which takes as long as 40 steps of depth, so call them once for a product.
  void (*begin)();
  void (*end)();
  // Computes the product of a call, whose steps of depth are pairs. It writes 16 or 32 rows of sums, even if
  // call.rows is less. Rows of A beyond call.rows may hold anything. `stream` says that the panels come from
  // memory and not from a cache.
  void (*sums)(const TileCall<uint32_t, uint32_t>& call, bool stream);
};

// AmxScope keeps the tile registers configured while it lives.
class AmxScope {
 public:
  explicit AmxScope(const AmxTile& tile) : tile_(tile) { tile.begin(); }
  ~AmxScope() { tile_.end(); }
  AmxScope(const AmxScope&) = delete;
  AmxScope& operator=(const AmxScope&) = delete;

 private:
  const AmxTile& tile_;
};

// Returns the tile that uses the instruction tdpbf16ps, or null if the CPU does not have it or the system
// does not grant its registers. x86/ implements it; any_cpu/ returns null.
const AmxTile* amx_tile();

}  // namespace moehill
