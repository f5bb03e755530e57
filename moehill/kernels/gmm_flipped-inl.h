// This file has the input gradient of few rows, with the operands exchanged: dA^T = W dC^T. The tile's rows
// are rows of the weights, which it broadcasts from where they lie, and its columns are rows of dC. So the
// weights need not be transposed, and the tile reads long pieces of a panel in the order of memory. This pays
// only for few rows, because each row of dC takes a lane of the vectors. Each sum adds the same products in
// the same order as in the usual product (gmm_forward-inl.h), so the choice between the two changes no bit of
// the result. Include the file inside HWY_NAMESPACE, once for each target.
//
//   if (unit.row_end - unit.row_begin <= Kernel::kFlippedRows) flipped_unit(kernel, unit, product, scratch);

#if defined(MOEHILL_GMM_FLIPPED_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_FLIPPED_INL_H
#undef MOEHILL_GMM_FLIPPED_INL_H
#else
#define MOEHILL_GMM_FLIPPED_INL_H
#endif

#include "moehill/kernels/gemm_units.h"
#include "moehill/kernels/gmm_forward-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Returns panel rows as squares of 16 x 16 words for the tile, with zeros after the last row. It copies them
// to `scratch` only if it must.
HWY_INLINE const float* as_squares(const VectorKernel<float>&, const float* rows, int64_t num_rows,
                                   float* scratch) {
  const int64_t values = num_rows * kPanelWidth, all = round_up(num_rows, kPanelWidth) * kPanelWidth;
  if (values == all) return rows;
  std::copy_n(rows, values, scratch);
  std::fill(scratch + values, scratch + all, 0.0f);
  return scratch;
}

HWY_INLINE const float* as_squares(const VectorKernel<bf16>&, const bf16* rows, int64_t num_rows,
                                   float* scratch) {
  widen_rows(rows, num_rows, scratch);
  std::fill(scratch + num_rows * kPanelWidth, scratch + round_up(num_rows, kPanelWidth) * kPanelWidth, 0.0f);
  return scratch;
}

// A panel of bf16 has pairs of rows, but the tile needs pairs of columns. So this function exchanges the
// middle halves of every two neighbouring words.
HWY_INLINE const uint32_t* as_squares(const DotKernel&, const bf16* rows, int64_t num_rows, float* scratch) {
  uint32_t* out = reinterpret_cast<uint32_t*>(scratch);
  const int64_t words = num_rows * kPanelWidth / 2, all = round_up(num_rows, kPanelWidth) * kPanelWidth / 2;
  exchange_middle_halves(reinterpret_cast<const uint32_t*>(rows), words, out);
  std::fill(out + words, out + all, 0u);
  return out;
}

// Packs the rows of dC, each shape.copies times side by side. Step d begins at d * width.
template <class Kernel>
void pack_flipped_rows(const RowSource& source, const GemmUnit& unit, const FlippedShape& shape,
                       int64_t depth, GmmScratch& scratch) {
  using T = typename Kernel::T;
  const T *rows[kFlippedWidth], *copied[kFlippedWidth];
  strip_rows<kFlippedWidth, T>(source, unit.row_begin, unit.row_end, 0, scratch.zeros, rows);
  for (int i = 0; i < kFlippedWidth; ++i) copied[i] = rows[i / shape.copies];
  const StripDepth strip{depth, packed_depth<Kernel>(depth)};
  auto* out = reinterpret_cast<typename Kernel::Word*>(scratch.a);
  pack_strip_transposed<kFlippedWidth>(copied, shape.width, strip, out);
  scratch.num_packed += (unit.row_end - unit.row_begin) * strip.packed;
}

// Brings the sums of squares [squares.begin, squares.end) into the order of a tile, rows first, and hands
// them to the epilogue.
HWY_INLINE void finish_squares(const float* sums, const FlippedShape& shape, const GemmUnit& unit,
                               Range squares, const Epilogue& epilogue) {
  const int num_rows = static_cast<int>(unit.row_end - unit.row_begin);
  alignas(64) float tile[kFlippedWidth * kPanelWidth];
  for (int64_t q = squares.begin; q < squares.end; ++q, sums += num_sums(shape)) {
    for (int r = 0; r < num_rows; ++r) {
      for (int k = 0; k < kPanelWidth; ++k) tile[r * kPanelWidth + k] = sums[sum_place(shape, k, r)];
    }
    epilogue({tile, unit.group, unit.row_begin, num_rows, q});
  }
}

// Computes one unit: rows [16 panel_begin, 16 panel_end) of the weights times the unit's rows of dC.
template <class Kernel>
HWY_NOINLINE void flipped_unit(const Kernel& kernel, const GemmUnit& unit, const ColumnsProduct& product,
                               GmmScratch& scratch) {
  using T = typename Kernel::T;
  using Word = typename Kernel::Word;
  constexpr int64_t kSteps = kPanelWidth / Kernel::kDepth;
  const PanelBlocks<T> weights{group_panels<T>(product.weights, unit.group), product.weights.panel_rows()};
  const FlippedShape shape = Kernel::flipped_shape(unit.row_end - unit.row_begin);
  pack_flipped_rows<Kernel>(product.rows, unit, shape, product.depth, scratch);
  const Word* rows = reinterpret_cast<const Word*>(scratch.a);
  const int64_t steps = packed_depth<Kernel>(product.depth) / Kernel::kDepth;
  const int64_t panels = (product.depth + kPanelWidth - 1) / kPanelWidth;
  const auto at = [&](int64_t square, int64_t panel) {
    return weights.at({panel, 1, square * kPanelWidth, kPanelWidth});
  };
  // The sums of kFlippedSquares squares stay in L1 while all panels of the weights pass by.
  for (int64_t q = unit.panel_begin; q < unit.panel_end; q += kFlippedSquares) {
    scratch.poll();
    const int64_t end = std::min<int64_t>(unit.panel_end, q + kFlippedSquares);
    const int64_t num_rows = std::min(weights.panel_rows, end * kPanelWidth) - q * kPanelWidth;
    for (int64_t p = 0; p < panels; ++p) {
      const auto* next = p + 1 < panels ? at(q, p + 1) : at(end < unit.panel_end ? end : q, 0);
      kernel.flipped({as_squares(kernel, at(q, p), num_rows, scratch.b), static_cast<int>(end - q), shape,
                      rows + p * kSteps * shape.width, static_cast<int>(std::min(kSteps, steps - p * kSteps)),
                      scratch.c, p > 0, reinterpret_cast<const char*>(next)});
      ++scratch.num_blocks;
    }
    finish_squares(scratch.c, shape, unit, {q, end}, product.epilogue);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
