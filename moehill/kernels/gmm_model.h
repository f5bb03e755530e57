// This header has the fixed block sizes of this library's grouped GEMM; block_sizes.h has the sizes that a
// user can choose. Each comment says which cache the size must fit, for 32 KiB of L1, 512 KiB of L2, and a
// share of at least 4 MiB of L3 for each core. Figures in per cent were measured.
#pragma once

#include <cstdint>

namespace moehill {

// Forward units of at most this many strips read each panel as one stream, as deep as the rows are packed,
// and widen bf16 when they load it. Larger units work by blocks of a tile call's depth, and first widen a
// block into scratch. Widening a block first costs about as much as its product with half a strip; widening
// on load costs 8 % of every strip.
inline constexpr int64_t kFewStrips = 12;
// A call of a tile that multiplies bf16 pairs is this many times as deep as the block sizes say, since its
// operands take half the bytes.
inline constexpr int64_t kPairDepth = 2;
// This is the most panels of a unit whose partial sums are kept: 288 rows x 16 x 64 f32 = 1.2 MB of sums.
inline constexpr int64_t kMaxPanelsDeep = 64;

// These two are for the input gradient of few rows: the most lanes of its tile, and the number of squares of
// 16 x 16 weights that it reads from one panel before the next panel (16 KiB of f32). Their sums, at most 16
// KiB, stay in L1.
inline constexpr int kFlippedWidth = 16;
inline constexpr int64_t kFlippedSquares = 16;

// This is the depth of one tile call of the weight gradient. The depth of this product is counted in rows. L1
// holds one block of B (256 x 16 f32) and two strips of A (256 x 6 f32): 256 x (64 + 2 x 24) B = 28 KiB.
inline constexpr int64_t kCallDepth = 256;
// A step of an AMX tile is a pair of values. With 160 steps, two panels take 20 KiB and a strip of 32 rows
// takes 20 KiB, out of 48 KiB of L1.
inline constexpr int64_t kAmxCallSteps = 160;
// The weight gradient packs this many columns of A together.
inline constexpr int64_t kGradColumns = 2048;
// These are the rows that the weight gradient packs together, and the bytes of packed strips that stay in L2.
inline constexpr int64_t kGradRows = 1024;
inline constexpr int64_t kGradStripBytes = 192 << 10;
// Groups of more than kGradRows rows keep partial sums, and pack this many rows together. A unit has at most
// kMaxGradPanelsDeep panels: 44 x 2046 x 16 f32 = 6 MB of sums, which lie in L3 with 2 MB of packed strips.
// Every unit packs its rows of A anew, which took 15 % of the time with 16 panels a unit.
inline constexpr int64_t kTallGradRows = 256;
// Groups of more rows than this have units of at most kMaxGradPanelsDeep panels, too, because the packed
// panels of wider units do not stay in L2. Only tiles of two panels gain by it: with tiles of one panel,
// packing A anew for each unit took 6 % at 273 rows.
inline constexpr int64_t kGradRowsOfNarrowUnits = 256;
inline constexpr int64_t kMaxGradPanelsDeep = 44;
// A weight gradient has units of fewer panels than this only if threads would otherwise be idle.
inline constexpr int64_t kMinGradPanels = 40;

// A unit of one strip does the epilogues of this many panels together. With 1 in place of 8, the product
// before SwiGLU took 5 % longer at 1 to 3 rows; with 4 it took 2 % longer. With all 64 panels of a pass, the
// product after SwiGLU took 2 % longer, probably because the stores to rows that are in no cache then come
// all at once.
inline constexpr int64_t kStreamedEpilogues = 8;

}  // namespace moehill
