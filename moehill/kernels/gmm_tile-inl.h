// The register tile of our grouped GEMM: kRows x 16 results in registers, one pass over a block of depth.
//
// Shape: 16 columns are one panel row. With 8 lanes (AVX2) a tile of 6 x 16 takes 12 accumulators, two
// vectors of B and one broadcast of A: 15 of 16 registers, 12 FMAs for 8 loads a step. With 16 lanes
// (AVX-512) 12 x 16 takes 12 accumulators, which cover the latency of two FMA units; with 4 lanes (SSE4,
// NEON) or 1 (scalar) 3 x 16. Include inside HWY_NAMESPACE, once a target.

#if defined(MOEHILL_GMM_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_TILE_INL_H
#undef MOEHILL_GMM_TILE_INL_H
#else
#define MOEHILL_GMM_TILE_INL_H
#endif

#include <hwy/highway.h>

#include "moehill/tensor/weight_stack.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int kLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
using DF = hn::FixedTag<float, kLanes>;
using VF = hn::Vec<DF>;
inline constexpr int kTileVectors = 16 / kLanes;
inline constexpr int kTileRows = kLanes == 16 ? 12 : kLanes == 8 ? 6 : 3;

// The two halves of 2 * kLanes bf16 values at p: `even` positions and `odd` positions, as f32.
HWY_INLINE void widen_pairs(const bf16* p, VF& even, VF& odd) {
  const hn::RebindToUnsigned<DF> du;
  const DF df;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(p));
  even = hn::BitCast(df, hn::ShiftLeft<16>(pairs));
  odd = hn::BitCast(df, hn::And(pairs, hn::Set(du, 0xffff0000u)));
}

// One panel row of 16 columns in column order.
HWY_INLINE void load_panel_row(const float* b, VF* v) {
  const DF df;
  for (int i = 0; i < kTileVectors; ++i) v[i] = hn::LoadU(df, b + i * kLanes);
}
template <class D = DF>
HWY_INLINE void load_panel_row(const bf16* b, VF* v) {
  const D df;
  if constexpr (kLanes == 16) {
    const hn::Half<D> dh;
    const hn::RebindToUnsigned<decltype(dh)> du;
    const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(b));
    const auto even = hn::BitCast(dh, hn::ShiftLeft<16>(pairs));
    const auto odd = hn::BitCast(dh, hn::And(pairs, hn::Set(du, 0xffff0000u)));
    v[0] = Combine(df, odd, even);  // unqualified: the scalar target has none
  } else {
    for (int i = 0; i < kTileVectors / 2; ++i) widen_pairs(b + 2 * i * kLanes, v[i], v[i + kTileVectors / 2]);
  }
}

// c [kRows][16] (+)= sum over depth of a [depth][kTileRows] (row i of the strip at a[k * kTileRows + i])
// times b [depth][16].
template <int kRows, typename B>
HWY_NOINLINE void tile(const float* HWY_RESTRICT a, const B* HWY_RESTRICT b, int64_t depth,
                       float* HWY_RESTRICT c, bool accumulate) {
  const DF df;
  VF sum[kRows][kTileVectors];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kTileVectors; ++v) {
      sum[i][v] = accumulate ? hn::Load(df, c + i * 16 + v * kLanes) : hn::Zero(df);
    }
  }
#pragma GCC unroll 4
  for (int64_t k = 0; k < depth; ++k) {
    VF row[kTileVectors];
    load_panel_row(b + k * 16, row);
#pragma GCC unroll 12
    for (int i = 0; i < kRows; ++i) {
      const VF factor = hn::Set(df, a[k * kTileRows + i]);
#pragma GCC unroll 4
      for (int v = 0; v < kTileVectors; ++v) sum[i][v] = hn::MulAdd(factor, row[v], sum[i][v]);
    }
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kTileVectors; ++v) hn::Store(sum[i][v], df, c + i * 16 + v * kLanes);
  }
}

// The same for 1 to kTileRows rows.
template <typename B, int kRows = kTileRows>
HWY_INLINE void tile_rows(int rows, const float* a, const B* b, int64_t depth, float* c, bool accumulate) {
  if (rows == kRows) return tile<kRows>(a, b, depth, c, accumulate);
  if constexpr (kRows > 1) tile_rows<B, kRows - 1>(rows, a, b, depth, c, accumulate);
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
