// The register tile of our grouped GEMM by the CPU's instruction for dot products of bf16 pairs.
//
// A 32-bit word of an operand holds two bf16 that are neighbours in depth; a step of a TileCall is such a
// pair, so its depth is counted in pairs. A tile has up to 12 rows and two panels: 24 sums, two vectors of B
// and a broadcast of A, 14 loads for 24 instructions.
#pragma once

#include "moehill/kernels/amx_tile.h"
#include "moehill/kernels/flipped_call.h"

namespace moehill {

inline constexpr int kDotRows = 12, kDotPanels = 2;

using DotCall = TileCall<uint32_t, uint32_t>;

// Where a tile leaves its sums as rows of a bf16 gradient: times `scale`, rounded to nearest even, rows 2 i
// and 2 i + 1 of panel p as pairs at out + p * stride + i * 16. A last row without a partner gets zeros as
// one.
struct GradientPlace {
  uint32_t* out;
  int64_t stride;
  float scale;
};

struct DotTile {
  void (*sums)(const DotCall& call, bool stream);  // stream: the panels come from memory
  void (*gradient)(const DotCall& call,
                   const GradientPlace& place);        // call.c is read if `accumulate`, and not written
  void (*flipped)(const FlippedCall<uint32_t>& call);  // of a width of 16
};

// The first tile that is not null multiplies bf16 pairs; without either bf16 is widened to f32.
struct PairTiles {
  const AmxTile* amx = nullptr;
  const DotTile* dot = nullptr;
};

// The tile by vdpbf16ps, or null where the CPU or the system has none. x86/ has it, any_cpu/ stands in.
const DotTile* avx512_dot_tile();

}  // namespace moehill
