// A unit of work of our grouped GEMM for the product over rows: the weight gradient. Include inside
// HWY_NAMESPACE, once a target.

#if defined(MOEHILL_GMM_GRAD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_GRAD_INL_H
#undef MOEHILL_GMM_GRAD_INL_H
#else
#define MOEHILL_GMM_GRAD_INL_H
#endif

#include "moehill/kernels/gemm_units.h"
#include "moehill/kernels/gmm_model.h"
#include "moehill/kernels/gmm_pack-inl.h"
#include "moehill/kernels/gmm_scratch.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

template <typename T>
HWY_INLINE const T* source_row(const RowSource& source, int64_t r, const float* zeros) {
  const int64_t from = source.index == nullptr ? r : source.index[r];
  return from < 0 ? reinterpret_cast<const T*>(zeros) : source.matrix.row<const T>(from);
}

// Columns [begin, end) of A as strips: strip s, row r at a + s * strip_stride + r * kTileRows.
template <typename T>
void pack_columns_a(const RowSource& source, Range rows, Range columns, int64_t strip_stride,
                    GmmScratch& scratch) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const T* row = source_row<T>(source, r, scratch.zeros);
    float* out = scratch.a + (r - rows.begin) * kTileRows;
    for (int64_t k = columns.begin; k < columns.end; k += kTileRows, out += strip_stride) {
      pack_strip_row<T>(row + k, columns.end - k, source.scale, out);
    }
  }
}

// Panels of dC: panel p (from panel_begin), row r at b + (p * rows + r) * 16.
template <typename T>
void pack_columns_b(const RowSource& source, Range rows, const GemmUnit& unit, GmmScratch& scratch) {
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const T* row = source_row<T>(source, r, scratch.zeros);
    for (int64_t p = unit.panel_begin; p < unit.panel_end; ++p) {
      float* out = scratch.b + ((p - unit.panel_begin) * rows.size() + r - rows.begin) * kPanelWidth;
      pack_panel_row<T>(row + p * kPanelWidth, source.matrix.cols - p * kPanelWidth, source.scale, out);
    }
  }
}

// One unit for columns [k.begin, k.end) of A: rows of the gradient's panels.
template <typename T>
HWY_NOINLINE void grad_columns(const GemmUnit& unit, Range k, const RowSource& a, const RowSource& dc,
                               const WeightView& dw, GmmScratch& scratch) {
  const int64_t tile_floats = kTileRows * kPanelWidth;
  const int64_t strips = (k.size() + kTileRows - 1) / kTileRows;
  const bool tall = unit.row_end - unit.row_begin > kGradRows;
  const int64_t block_rows = tall ? kTallGradRows : kGradRows;
  T* group = static_cast<T*>(dw.data) + unit.group * dw.group_elements();
  for (int64_t begin = unit.row_begin; begin < unit.row_end; begin += block_rows) {
    const Range rows{begin, std::min(begin + block_rows, unit.row_end)};
    const int64_t strip_stride = rows.size() * kTileRows + 16;
    pack_columns_a<T>(a, rows, k, strip_stride, scratch);
    pack_columns_b<T>(dc, rows, unit, scratch);
    const int64_t pass_strips = std::max<int64_t>(1, kGradStripBytes / (strip_stride * 4));
    for (int64_t pass = 0; pass < strips; pass += pass_strips) {
      const int64_t pass_end = std::min(strips, pass + pass_strips);
      for (int64_t p = unit.panel_begin; p < unit.panel_end; ++p) {
        scratch.poll();
        const float* b = scratch.b + (p - unit.panel_begin) * rows.size() * kPanelWidth;
        for (int64_t s = pass; s < pass_end; ++s) {
          const int64_t k0 = k.begin + s * kTileRows;
          const int num_k = static_cast<int>(std::min<int64_t>(kTileRows, k.end - k0));
          float* tile = scratch.c + (tall ? ((p - unit.panel_begin) * strips + s) * tile_floats : 0);
          for (int64_t r = 0; r < rows.size(); r += kCallDepth) {
            const int64_t part = std::min(kCallDepth, rows.size() - r);
            tile_rows(num_k, scratch.a + s * strip_stride + r * kTileRows, b + r * kPanelWidth, part, tile,
                      begin > unit.row_begin || r > 0);
          }
          if (rows.end < unit.row_end) continue;
          T* out = group + (p * dw.k + k0) * kPanelWidth;
          for (int i = 0; i < num_k; ++i) store_panel_row(tile + i * kPanelWidth, out + i * kPanelWidth);
        }
      }
    }
  }
}

// One unit: panels [panel_begin, panel_end) of one group's gradient, over all rows of the group; zero without
// rows.
template <typename T>
void grad_unit(const GemmUnit& unit, const RowSource& a, const RowSource& dc, const WeightView& dw,
               GmmScratch& scratch) {
  if (unit.row_begin == unit.row_end) {
    T* group = static_cast<T*>(dw.data) + unit.group * dw.group_elements();
    std::fill(group + unit.panel_begin * dw.k * kPanelWidth, group + unit.panel_end * dw.k * kPanelWidth,
              T{});
    return;
  }
  constexpr int64_t kColumns = kGradColumns / kTileRows * kTileRows;
  for (int64_t k = 0; k < dw.k; k += kColumns) {
    grad_columns<T>(unit, {k, std::min(k + kColumns, dw.k)}, a, dc, dw, scratch);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
