// Block sizes of our grouped GEMM that are not choices (those: block_sizes.h), from the caches of a core:
// what each must fit, with the figures for 32 KiB L1, 512 KiB L2 and a share of 4 MiB or more of L3 a core.
#pragma once

#include <cstdint>

namespace moehill {

// Forward units of at most this many strips read each panel in one stream, as deep as the rows are packed,
// and widen bf16 on load. Larger ones go by blocks of a tile call's depth, widened into scratch first: that
// costs about as much as the block's product with half a strip, where widening on load costs 8 % of every
// strip.
inline constexpr int64_t kFewStrips = 12;
// A call of a tile that multiplies bf16 pairs is this many times as deep as the block sizes say.
inline constexpr int64_t kPairDepth = 2;
// Panels of one unit when partial sums of the unit are kept: 288 rows x 16 x 64 f32 = 2 MiB.
inline constexpr int64_t kMaxPanelsDeep = 64;

// The input gradient of few rows: lanes of its tile at most, and squares of 16 x 16 weights that are read
// from a panel before those of the next one, 16 KiB of f32. Their sums, 16 KiB at most, stay in L1.
inline constexpr int kFlippedWidth = 16;
inline constexpr int64_t kFlippedSquares = 16;

// Weight gradient: rows (the depth of this product) of one register-tile call. L1 holds one block of B (256 x
// 16 f32) and two strips of A (256 x 6 f32): 256 x (64 + 2 x 24) B = 28 KiB.
inline constexpr int64_t kCallDepth = 256;
// A step of an AMX tile is a pair of values. In 160 steps two panels have 20 KiB and a strip of 32 rows has
// 20 KiB, of 48 KiB of L1.
inline constexpr int64_t kAmxCallSteps = 160;
// Columns of A packed together.
inline constexpr int64_t kGradColumns = 2048;
// Rows packed together, and bytes of packed strips that stay in L2.
inline constexpr int64_t kGradRows = 1024;
inline constexpr int64_t kGradStripBytes = 192 << 10;
// Groups of more rows keep partial sums: rows packed together then, and panels of a unit (44 x 2046 x 16 f32
// = 6 MB of sums, which with 2 MB of packed strips lie in L3). Every unit packs its rows of A anew, which
// with 16 panels a unit took 15 % of the time.
inline constexpr int64_t kTallGradRows = 256;
// Groups of more rows have units of at most kMaxGradPanelsDeep panels too, since the packed panels of wider
// ones pass by L2. Only tiles of two panels gain by it: with tiles of one, packing A anew for each unit took
// 6 % at 273 rows.
inline constexpr int64_t kGradRowsOfNarrowUnits = 256;
inline constexpr int64_t kMaxGradPanelsDeep = 44;
inline constexpr int64_t kMinGradPanels = 40;

// Panels of a unit of one strip whose epilogues come together. With 1 the product before SwiGLU took 5 %
// longer at 1 to 3 rows, with 4 it took 2 %; with all 64 of a pass the product after it took 2 % longer,
// since the stores to rows that no cache holds come at once.
inline constexpr int64_t kStreamedEpilogues = 8;

}  // namespace moehill
