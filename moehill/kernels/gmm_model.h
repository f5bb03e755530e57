// Block sizes of our grouped GEMM, from the caches of a core: what each must fit, with the figures for 32 KiB
// L1, 512 KiB L2 and a share of 4 MiB or more of L3 a core.
#pragma once

#include <cstdint>

#include "moehill/tensor/dtype.h"

namespace moehill {

// Depth of one register-tile call. L1 holds one panel block of B (depth x 16) and two strips of A (depth x 6
// f32): 256 x (64 + 2 x 24) B = 28 KiB with B in f32; 512 deep with B in bf16 is 16 KiB of B and 12 KiB a
// strip, which streams.
inline constexpr int64_t kDepthF32 = 256;
inline constexpr int64_t kDepthBf16 = 512;

// Rows of A packed together for one unit (forward, input gradient): the packed rows (x kMaxDepth f32) stay in
// L3 while all panels of the unit pass by.
inline constexpr int64_t kBlockRows = 512;
// Depth packed together; deeper products keep their partial sums of the whole unit in f32 scratch.
inline constexpr int64_t kMaxDepth = 2048;
// Panels that share one pass over the packed rows of a depth block (rows x depth f32, in L2).
inline constexpr int64_t kPanelsPerPass = 8;
// Panels of one unit when partial sums of the unit are kept: kBlockRows x 16 x 64 f32 = 2 MiB.
inline constexpr int64_t kMaxPanelsDeep = 64;

// Weight gradient: rows packed together, bytes of packed strips that stay in L2, panels of a unit that keeps
// partial sums.
inline constexpr int64_t kGradRows = 512;
inline constexpr int64_t kGradStripBytes = 192 << 10;
inline constexpr int64_t kMaxGradPanelsDeep = 16;

}  // namespace moehill
