// This header has the register tile of this library's grouped GEMM for the CPU's dot product of bf16 pairs,
// vdpbf16ps of AVX512_BF16. The other register tiles are gmm_tile-inl.h (f32) and amx_tile.h (AMX).
//
// A 32-bit word of an operand holds two bf16 values that are neighbours in depth. One step of a TileCall is
// such a pair, so the depth of a call counts pairs. A tile has up to 12 rows and two panels: 24 sums, two
// vectors of B and one broadcast of A in registers, and 14 loads for 24 dot instructions.
//
//   if (const DotTile* tile = avx512_dot_tile()) tile->sums(call, false);
#pragma once

#include "moehill/kernels/amx_tile.h"
#include "moehill/kernels/flipped_call.h"

namespace moehill {

inline constexpr int kDotRows = 12, kDotPanels = 2;

using DotCall = TileCall<uint32_t, uint32_t>;

// GradientPlace says where a tile stores its sums if they are rows of a bf16 gradient. The tile multiplies
// them by `scale` and rounds to nearest even. It stores rows 2 i and 2 i + 1 of panel p as pairs at out + p *
// stride + i * 16, and pairs a last row without a partner with zeros.
struct GradientPlace {
  uint32_t* out;
  int64_t stride;
  float scale;
};

// DotTile is a table of the tile's functions. It is a table so that the CPU's tile and the emulated one
// (dot_emulation.h) have the same type.
struct DotTile {
  void (*sums)(const DotCall& call, bool stream);  // stream: the panels come from memory and not from a cache
  void (*gradient)(const DotCall& call,
                   const GradientPlace& place);        // reads call.c if call.accumulate, and never writes it
  void (*flipped)(const FlippedCall<uint32_t>& call);  // flipped calls of width 16
};

// PairTiles are the tiles for bf16 that this process may use. The grouped GEMM multiplies bf16 pairs by the
// first that is not null. If both are null, it widens bf16 to f32.
struct PairTiles {
  const AmxTile* amx = nullptr;
  const DotTile* dot = nullptr;
};

// Returns the tile that uses vdpbf16ps, or null if the CPU or the system does not have it. x86/ implements
// it; any_cpu/ returns null.
const DotTile* avx512_dot_tile();

}  // namespace moehill
