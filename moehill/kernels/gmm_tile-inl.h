// This file has the register tile of this library's grouped GEMM on vectors of f32: kRows x 16 or x 32
// results stay in registers during one pass over a block of depth. dot_tile.h and amx_tile.h have the
// register tiles for bf16. Include the file inside HWY_NAMESPACE, once for each target.
//
// The shape follows from the registers. 16 columns are one panel row.
//
// - 8 lanes (AVX2): 6 x 16 takes 12 accumulators, two vectors of B and one broadcast of A, 15 of 16
//   registers; 12 fused multiply-adds for 8 loads in a step.
// - 16 lanes (AVX-512): 12 x 32, two panels side by side, takes 24 accumulators and has 14 loads for 24
//   multiply-adds. With one panel it would have 13 loads for 12, more than the two loads a cycle that a core
//   can make.
// - 4 lanes (SSE4, NEON) or 1 (scalar): 3 x 16.

#if defined(MOEHILL_GMM_TILE_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_TILE_INL_H
#undef MOEHILL_GMM_TILE_INL_H
#else
#define MOEHILL_GMM_TILE_INL_H
#endif

#include <hwy/highway.h>

#include <algorithm>
#include <type_traits>

#include "moehill/kernels/flipped_call.h"
#include "moehill/kernels/tile_call.h"
#include "moehill/tensor/weight_stack.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int kLanes = HWY_LANES(float) < 16 ? HWY_LANES(float) : 16;
using DF = hn::FixedTag<float, kLanes>;
using VF = hn::Vec<DF>;
inline constexpr int kTileVectors = 16 / kLanes;  // of a panel row
inline constexpr int kTileRows = kLanes == 16 ? 12 : kLanes == 8 ? 6 : 3;
inline constexpr int kTilePanels = kLanes == 16 ? 2 : 1;

// One load of a panel gives this many panel rows: two if it holds bf16 pairs.
template <typename B>
inline constexpr int kRowsOfLoad = static_cast<int>(4 / sizeof(B));

// Makes the compiler forget what it knows about a pointer, so that it loads the data again. Callers use it
// where no register is left to keep the data.
template <typename T>
HWY_INLINE const T* same_place(const T* p) {
  asm("" : "+r"(p));
  return p;
}

// Loads lanes [v * kLanes, (v + 1) * kLanes) of one of the panel rows at b; of a bf16 pair of rows, row
// `half`.
HWY_INLINE VF load_panel_row(const float* b, int v, int) { return hn::LoadU(DF(), b + v * kLanes); }
HWY_INLINE VF load_panel_row(const bf16* b, int v, int half) {
  const hn::RebindToUnsigned<DF> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(b) + v * kLanes);
  if (half == 0) return hn::BitCast(DF(), hn::ShiftLeft<16>(pairs));
  // Tiles of up to 8 lanes have no register left for a mask, so two shifts clear the lower half.
  const auto upper =
      kLanes <= 8 ? hn::ShiftLeft<16>(hn::ShiftRight<16>(pairs)) : hn::And(pairs, hn::Set(du, 0xffff0000u));
  return hn::BitCast(DF(), upper);
}

// PanelStrides are the distances between panels in B and in the sums. They are passed by value, and so in
// registers, because a tile of few steps is very short: reading them from a struct in memory made f32 up to
// 17 % slower at 8 and 34 rows.
struct PanelStrides {
  int64_t b, c;
};

// Tiles of 16 lanes prefetch the next block, one line in each step. Smaller vectors have no register left for
// the address.
inline constexpr bool kTileAsksAhead = kLanes == 16;
// NothingAhead stands in the place of an address to prefetch, for tiles that do not prefetch.
struct NothingAhead {};

// TileExtras has the other arguments of a tile call. Next is const Ahead*, or NothingAhead for tiles that do
// not prefetch.
template <class Next>
struct TileExtras {
  bool accumulate;
  Next ahead;
};

// Computes c (+)= a b for a tile of kRows x kPanels * 16. For bf16 panels the depth must be even.
template <int kRows, int kPanels, Fetch kFetch, typename B, class Next>
HWY_NOINLINE void tile(const float* HWY_RESTRICT a, const B* HWY_RESTRICT b, PanelStrides stride,
                       int64_t depth, float* HWY_RESTRICT c, TileExtras<Next> extras) {
  const DF df;
  constexpr int kVectors = kPanels * kTileVectors;
  VF sum[kRows][kVectors];
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      const float* from = c + v / kTileVectors * stride.c + i * 16 + v % kTileVectors * kLanes;
      sum[i][v] = extras.accumulate ? hn::Load(df, from) : hn::Zero(df);
    }
  }
  constexpr bool kAsks = kTileAsksAhead && kFetch == Fetch::ahead;
  const char* next = nullptr;
  if constexpr (kAsks) next = static_cast<const char*>(extras.ahead->at);
  for (int64_t k = 0; k < depth;) {
    int64_t end = depth;
    if constexpr (kAsks) end = std::min(depth - k, extras.ahead->run) + k;
#pragma GCC unroll 4
    for (; k < end; k += kRowsOfLoad<B>) {
      if constexpr (kAsks) {
        __builtin_prefetch(next, 0, 2);
        next += extras.ahead->step * kRowsOfLoad<B>;
      } else if constexpr (kTileAsksAhead && kFetch == Fetch::stream) {
#pragma GCC unroll 2
        for (int p = 0; p < kPanels && kRows > kRowsOfPlainStream; ++p)
          prefetch_stream(b + p * stride.b + k * 16);
      } else if constexpr (kFetch == Fetch::stream && sizeof(B) == 2) {  // f32 was 2 to 7 % slower with it
        __builtin_prefetch(reinterpret_cast<const char*>(b + k * 16) + kStreamAhead);
      }
// A pair of bf16 rows is loaded twice, once for each half, since there is no register to keep it.
#pragma GCC unroll 2
      for (int half = 0; half < kRowsOfLoad<B>; ++half) {
        const B* from = half == 0 ? b + k * 16 : same_place(b + k * 16);
        VF row[kVectors];
#pragma GCC unroll 4
        for (int v = 0; v < kVectors; ++v)
          row[v] = load_panel_row(from + v / kTileVectors * stride.b, v % kTileVectors, half);
#pragma GCC unroll 12
        for (int i = 0; i < kRows; ++i) {
          const VF factor = hn::Set(df, a[(k + half) * kRows + i]);
#pragma GCC unroll 4
          for (int v = 0; v < kVectors; ++v) sum[i][v] = hn::MulAdd(factor, row[v], sum[i][v]);
        }
      }
    }
    if constexpr (kAsks) next += extras.ahead->jump;
  }
#pragma GCC unroll 12
  for (int i = 0; i < kRows; ++i) {
#pragma GCC unroll 4
    for (int v = 0; v < kVectors; ++v) {
      hn::StoreU(sum[i][v], df, c + v / kTileVectors * stride.c + i * 16 + v % kTileVectors * kLanes);
    }
  }
}

// Multiplies 1 to kTileRows rows by 1 to kTilePanels panels: picks the template for call.rows at run time.
template <Fetch kFetch, typename B, int kRows = kTileRows>
HWY_INLINE void tile_rows(const TileCall<float, B>& call) {
  if (call.rows == kRows) {
    const PanelStrides stride{call.b_stride, call.c_stride};
    const auto extras = [&] {
      if constexpr (kTileAsksAhead) {
        return TileExtras<const Ahead*>{call.accumulate, &call.ahead};
      } else {
        return TileExtras<NothingAhead>{call.accumulate, {}};
      }
    }();
    if (kTilePanels == 1 || call.panels == 1)
      return tile<kRows, 1, kFetch>(call.a, call.b, stride, call.depth, call.c, extras);
    return tile<kRows, kTilePanels, kFetch>(call.a, call.b, stride, call.depth, call.c, extras);
  }
  if constexpr (kRows > 1) tile_rows<kFetch, B, kRows - 1>(call);
}

// The most rows of the other operand in a flipped product: one for each lane. Vectors of 4 lanes have no
// flipped product.
inline constexpr int kFlippedLanes = kLanes >= 8 ? kLanes : 0;

// Makes a flipped product: sums (+)= squares times rows of kWidth lanes, kHeight rows of a square at a time.
// It prefetches one line every kStepsOfLine steps.
template <int kWidth, int kStepsOfLine>
HWY_NOINLINE void flipped_tile(const FlippedCall<float>& call) {
  const hn::FixedTag<float, kWidth> d;
  constexpr int kHeight = kLanes == 16 ? 16 : 8;
  const float* squares = call.squares;
  float* sums = call.sums;
  const char* ahead = call.ahead;
  for (int q = 0; q < call.count; ++q, squares += 256) {
    for (int k = 0; k < 16; k += kHeight, sums += kHeight * kWidth) {
      // The sums of kHeight rows stay in registers over all steps; each step takes one row of the other
      // operand.
      hn::Vec<decltype(d)> sum[kHeight];
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i)
        sum[i] = call.accumulate ? hn::LoadU(d, sums + i * kWidth) : hn::Zero(d);
      const float* weights = squares + k * 16;
      const float* rows = call.rows;
      for (int n = 0; n < call.steps; ++n, ++weights, rows += kWidth) {
        if (k == 0) {
          __builtin_prefetch(ahead, 0, 2);
          ahead += 64 / kStepsOfLine;
        }
        const auto row = hn::LoadU(d, rows);
#pragma GCC unroll 16
        for (int i = 0; i < kHeight; ++i) sum[i] = hn::MulAdd(hn::Set(d, weights[i * 16]), row, sum[i]);
      }
#pragma GCC unroll 16
      for (int i = 0; i < kHeight; ++i) hn::StoreU(sum[i], d, sums + i * kWidth);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
