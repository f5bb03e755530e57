// This file has the three kernels of this library's grouped GEMM, which multiply packed operands: by vectors
// of f32 (bf16 is widened to f32), by dot products of bf16 pairs, and by AMX. A kernel is a class with the
// sizes of its tile and functions that call the tile; the loops over units are templates on it. Include the
// file inside HWY_NAMESPACE, once for each target. The tiles are in files of their own (gmm_tile-inl.h,
// dot_tile.h, amx_tile.h).
//
//   const DotKernel kernel{*tiles.dot};
//   columns_unit(kernel, unit, product, depth, blocks, scratch);   // a loop over units

#if defined(MOEHILL_GMM_KERNEL_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_KERNEL_INL_H
#undef MOEHILL_GMM_KERNEL_INL_H
#else
#define MOEHILL_GMM_KERNEL_INL_H
#endif

#include "moehill/kernels/dot_tile.h"
#include "moehill/kernels/gmm_model.h"
#include "moehill/kernels/gmm_pack-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// GradientRows says where sums become rows `k` of a gradient that has num_rows rows: panel p begins at panel
// + p * stride. `half` has room for one row of each panel, which waits for the next tile.
template <typename T>
struct GradientRows {
  Range k;
  int64_t num_rows;
  T* panel;
  int64_t stride;
  float scale;
  float* half;
};

// Stores the sums of a tile's panel p, [k.size()][16], as rows of the gradient.
HWY_INLINE void store_gradient(const float* tile, int p, const GradientRows<float>& rows) {
  float* panel = rows.panel + p * rows.stride;
  for (int64_t row = rows.k.begin; row < rows.k.end; ++row, tile += kPanelWidth)
    store_panel_row(tile, rows.scale, panel + row * kPanelWidth);
}
// Stores a tile in bf16, whose rows are stored in pairs. A tile that ends within a pair leaves the pair's
// first row in `half` for the next tile.
template <bool kStream = false>
HWY_INLINE void store_gradient(const float* tile, int p, const GradientRows<bf16>& rows) {
  alignas(64) static constexpr float kZeros[kPanelWidth] = {};
  bf16* panel = rows.panel + p * rows.stride;
  float* half = rows.half + p * kPanelWidth;
  int64_t row = rows.k.begin;
  if (row % 2 == 1) {
    store_panel_pair<kStream>(half, tile, rows.scale, panel + (row - 1) * kPanelWidth);
    ++row, tile += kPanelWidth;
  }
  for (; row + 1 < rows.k.end; row += 2, tile += 2 * kPanelWidth)
    store_panel_pair<kStream>(tile, tile + kPanelWidth, rows.scale, panel + row * kPanelWidth);
  if (row == rows.k.end) return;
  if (row + 1 == rows.num_rows) {
    store_panel_pair<kStream>(tile, kZeros, rows.scale, panel + row * kPanelWidth);
  } else {
    std::copy(tile, tile + kPanelWidth, half);
  }
}

// VectorKernel is the f32 kernel. Every kernel has these members:
//
// - T: the type in which operands and weights are stored. They are packed to Words of kDepth values along the
//   depth.
// - kRows, kPanels: the largest tile. kBlock: a strip has kBlock steps of one row, then kBlock steps of the
//   next row; after all its rows come the next kBlock steps.
// - kAsksAhead: tiles prefetch the operands of later tiles. kAsksForResults: products are so short that the
//   lines of their results are prefetched before them.
// - kStreamStrips: forward units of at most this many strips read a panel as one stream. In larger forward
//   units call_depth() is the depth of a tile call; its argument is the depth by the block sizes.
// - kGradSteps: steps of a tile call of a weight gradient.
// - kFlippedRows: units of at most this many rows may be flipped (gmm_flipped-inl.h); 0: none.
template <typename Stored>
struct VectorKernel {
  using T = Stored;
  using Word = float;
  static constexpr int kRows = kTileRows, kPanels = kTilePanels, kDepth = 1, kBlock = 1;
  static constexpr bool kAsksAhead = kTileAsksAhead, kAsksForResults = false;
  static constexpr int64_t kStreamStrips = kFewStrips, kGradSteps = kCallDepth / kPanels;
  static int64_t call_depth(int64_t depth) { return depth / kPanels; }

  template <bool kStream, typename B>
  HWY_INLINE void multiply(const TileCall<float, B>& call) const {
    tile_rows<kStream ? Fetch::stream : Fetch::ahead>(call);
  }

  static constexpr int64_t kFlippedRows = kFlippedLanes;
  static FlippedShape flipped_shape(int64_t num_rows) { return {num_rows <= 8 ? 8 : kFlippedLanes, 1}; }

  HWY_INLINE void flipped(const FlippedCall<float>& call) const {
    constexpr int kStepsOfLine = 4 / sizeof(T);
    if (call.shape.width == 8) return flipped_tile<8, kStepsOfLine>(call);
    flipped_tile<kFlippedLanes, kStepsOfLine>(call);
  }

  // Multiplies, and stores the sums as rows of a gradient.
  HWY_INLINE void gradient(const TileCall<float, float>& call, const GradientRows<T>& rows) const {
    if constexpr (std::is_same_v<T, float>) {
      if (!call.accumulate) return gradient_in_place(call, rows);
    }
    tile_rows<Fetch::nothing>(call);
    for (int p = 0; p < call.panels; ++p) store_gradient(call.c + p * call.c_stride, p, rows);
  }

 private:
  // A gradient in f32 has the same layout as a tile, so the sums can be written there directly.
  HWY_INLINE void gradient_in_place(TileCall<float, float> call, const GradientRows<T>& rows) const {
    call.c = rows.panel + rows.k.begin * kPanelWidth;
    call.c_stride = rows.stride;
    tile_rows<Fetch::nothing>(call);
    if (rows.scale == 1) return;
    for (int p = 0; p < call.panels; ++p) {
      float* row = call.c + p * call.c_stride;
      for (int i = 0; i < call.rows; ++i, row += kPanelWidth) store_panel_row(row, rows.scale, row);
    }
  }
};

// DotKernel multiplies bf16 pairs by vdpbf16ps; see VectorKernel for the members.
struct DotKernel {
  using T = bf16;
  using Word = uint32_t;
  static constexpr int kRows = kDotRows, kPanels = kDotPanels, kDepth = 2, kBlock = 1;
  static constexpr bool kAsksAhead = true, kAsksForResults = false;
  static constexpr int64_t kStreamStrips = kFewStrips, kGradSteps = kCallDepth * kDepth / kPanels;
  static int64_t call_depth(int64_t depth) { return kPairDepth * depth; }

  const DotTile& tile;

  template <bool kStream>
  HWY_INLINE void multiply(const DotCall& call) const {
    tile.sums(call, kStream);
  }

  static constexpr int64_t kFlippedRows = kFlippedWidth;
  static FlippedShape flipped_shape(int64_t num_rows) { return {kFlippedWidth, num_rows <= 8 ? 2 : 1}; }

  HWY_INLINE void flipped(const FlippedCall<uint32_t>& call) const { tile.flipped(call); }

  HWY_INLINE void gradient(const DotCall& call, const GradientRows<bf16>& rows) const {
    uint32_t* out = reinterpret_cast<uint32_t*>(rows.panel + rows.k.begin * kPanelWidth);
    tile.gradient(call, {out, rows.stride / 2, rows.scale});
  }
};

// AmxKernel multiplies bf16 pairs by AMX; see VectorKernel for the members.
struct AmxKernel {
  using T = bf16;
  using Word = uint32_t;
  static constexpr int kRows = kAmxRows, kPanels = kAmxPanels, kDepth = 2, kBlock = kAmxSteps;
  static constexpr bool kAsksAhead = true, kAsksForResults = true;
  static constexpr int64_t kStreamStrips = 1, kGradSteps = kAmxCallSteps;
  static int64_t call_depth(int64_t depth) { return depth; }
  static constexpr int64_t kFlippedRows = 0;  // AMX cannot broadcast, which the flipped product needs

  const AmxTile& tile;

  template <bool kStream>
  HWY_INLINE void multiply(const DotCall& call) const {
    tile.sums(call, kStream);
  }

  HWY_INLINE void gradient(const DotCall& call, const GradientRows<bf16>& rows) const {
    tile.sums(call, false);
    const bool lines = reinterpret_cast<uintptr_t>(rows.panel) % 64 == 0;
    for (int p = 0; p < call.panels; ++p) {
      const float* sums = call.c + p * call.c_stride;
      if (lines) {
        store_gradient<true>(sums, p, rows);
      } else {
        store_gradient(sums, p, rows);
      }
    }
  }
};

// Returns the words of a strip of `steps` steps.
template <class Kernel>
HWY_INLINE int64_t strip_words(int64_t steps) {
  return Kernel::kRows * round_up(steps, Kernel::kBlock);
}

// Returns the depth of a product's packed operands: rounded up to whole pairs if weights are stored in pairs.
template <class Kernel>
HWY_INLINE int64_t packed_depth(int64_t depth) {
  return stored_panel_rows(depth, dtype_of<typename Kernel::T>);
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
