// The register tile of our grouped GEMM by AMX: products of 16 x 16 tiles of bf16 pairs.
//
// Up to 32 rows and two panels: four tiles of sums, two of A and two of B. A panel of pairs is AMX's B as it
// lies, 16 steps of depth a tile. A has rows as they are: step d of row i of a strip lies at (d / 16 * 32 +
// i) * 16 + d % 16, so that a tile's rows are 64 bytes each. The strip's last 16 steps may be incomplete.
#pragma once

#include "moehill/kernels/tile_call.h"

namespace moehill {

inline constexpr int kAmxRows = 32, kAmxPanels = 2, kAmxSteps = 16;

struct AmxTile {
  // begin() configures the tile registers of the calling thread, and end() releases them. Both wait for all
  // instructions before them, which takes as long as a tenth of a call: once a product is enough.
  void (*begin)();
  void (*end)();
  // Makes the product of a call, whose steps of depth are pairs. It writes 16 or 32 rows of the sums,
  // whatever call.rows is. Rows of A beyond call.rows may hold anything.
  void (*sums)(const TileCall<uint32_t, uint32_t>& call, bool stream);
};

// The tile registers are configured while this lives.
class AmxScope {
 public:
  explicit AmxScope(const AmxTile& tile) : tile_(tile) { tile.begin(); }
  ~AmxScope() { tile_.end(); }
  AmxScope(const AmxScope&) = delete;
  AmxScope& operator=(const AmxScope&) = delete;

 private:
  const AmxTile& tile_;
};

// The tile by tdpbf16ps, or null where the CPU has none or the system does not grant its registers. x86/ has
// it, any_cpu/ stands in.
const AmxTile* amx_tile();

}  // namespace moehill
