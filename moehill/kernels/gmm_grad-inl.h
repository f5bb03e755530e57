// This file computes one unit of work of the product over rows, the weight gradient dW = A^T dC. Its depth is
// the rows of a group, and both operands have to be packed, since neither is stored in panels. Include the
// file inside HWY_NAMESPACE, once for each target. Products over columns are in gmm_forward-inl.h.
//
//   while (const GemmUnit* unit = queue.take()) grad_unit(kernel, *unit, product, scratch);

#if defined(MOEHILL_GMM_GRAD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_GRAD_INL_H
#undef MOEHILL_GMM_GRAD_INL_H
#else
#define MOEHILL_GMM_GRAD_INL_H
#endif

#include "moehill/kernels/gemm_units.h"
#include "moehill/kernels/gmm_kernel-inl.h"
#include "moehill/kernels/gmm_model.h"
#include "moehill/kernels/gmm_pack-inl.h"
#include "moehill/kernels/gmm_product.h"
#include "moehill/kernels/gmm_scratch.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Returns row r of an operand, or zeros if its index is -1.
template <typename T>
HWY_INLINE const T* source_row(const RowSource& source, int64_t r, const float* zeros) {
  const int64_t from = source.index == nullptr ? r : source.index[r];
  return from < 0 ? reinterpret_cast<const T*>(zeros) : source.matrix.row<const T>(from);
}

// Finds the rows of one step of depth: one row, or a pair whose second row may be missing (then it is zeros).
template <class Kernel>
HWY_INLINE void step_rows(const RowSource& source, Range rows, int64_t step, const float* zeros,
                          const typename Kernel::T** pointers) {
  using T = typename Kernel::T;
  for (int i = 0; i < Kernel::kDepth; ++i) {
    const int64_t r = rows.begin + step * Kernel::kDepth + i;
    pointers[i] = r < rows.end ? source_row<T>(source, r, zeros) : reinterpret_cast<const T*>(zeros);
  }
}

// Returns the number of steps of depth, rounded up to whole blocks. The last block is filled with zeros,
// because a whole tile of AMX takes no longer than a part of one.
template <class Kernel>
HWY_INLINE int64_t num_steps(Range rows) {
  return round_up((rows.size() + Kernel::kDepth - 1) / Kernel::kDepth, Kernel::kBlock);
}

// Packs columns [begin, end) of A as strips: strip s, step d begins at a + s * strip_stride + d * (columns of
// the strip).
template <class Kernel>
void pack_columns_a(const RowSource& source, Range rows, Range columns, int64_t strip_stride,
                    GmmScratch& scratch) {
  const typename Kernel::T* pointers[Kernel::kDepth];
  for (int64_t d = 0; d < num_steps<Kernel>(rows); ++d) {
    step_rows<Kernel>(source, rows, d, scratch.zeros, pointers);
    auto* out = reinterpret_cast<typename Kernel::Word*>(scratch.a);
    for (auto& pointer : pointers) pointer += columns.begin;
    for (int64_t k = columns.begin; k < columns.end; k += Kernel::kRows, out += strip_stride) {
      const int width = static_cast<int>(std::min<int64_t>(Kernel::kRows, columns.end - k));
      pack_columns<Kernel::kRows>(pointers, columns.end - k, width, out + d * width);
      for (auto& pointer : pointers) pointer += Kernel::kRows;
    }
  }
}

// Packs for kernels that read kBlock steps of a column side by side: it packs strips as pack_columns_a()
// does, and then transposes them.
template <class Kernel>
void pack_blocks_a(const RowSource& source, Range rows, Range columns, int64_t strip_stride,
                   GmmScratch& scratch) {
  constexpr int kRows = Kernel::kRows, kBlock = Kernel::kBlock;
  const bf16* pointers[2];
  alignas(64) uint32_t words[kBlock * kRows];
  for (int64_t d = 0; d < num_steps<Kernel>(rows); d += kBlock) {
    uint32_t* out = reinterpret_cast<uint32_t*>(scratch.a) + d * kRows;
    for (int64_t k = columns.begin; k < columns.end; k += kRows, out += strip_stride) {
      for (int i = 0; i < kBlock; ++i) {
        step_rows<Kernel>(source, rows, d + i, scratch.zeros, pointers);
        for (auto& pointer : pointers) pointer += k;
        pack_columns<kRows>(pointers, columns.end - k, kRows, words + i * kRows);
      }
      transpose_words<kBlock, kRows>(words, out);
    }
  }
}

template <class Kernel>
HWY_INLINE void pack_a(const RowSource& source, Range rows, Range columns, int64_t strip_stride,
                       GmmScratch& scratch) {
  if constexpr (Kernel::kBlock == 1) {
    pack_columns_a<Kernel>(source, rows, columns, strip_stride, scratch);
  } else {
    pack_blocks_a<Kernel>(source, rows, columns, strip_stride, scratch);
  }
}

// Packs panels of dC: panel p (counted from panel_begin), step d at b + (p * steps + d) * 16.
template <class Kernel>
void pack_b(const RowSource& source, Range rows, const GemmUnit& unit, GmmScratch& scratch) {
  const typename Kernel::T* pointers[Kernel::kDepth];
  const int64_t steps = num_steps<Kernel>(rows);
  for (int64_t d = 0; d < steps; ++d) {
    step_rows<Kernel>(source, rows, d, scratch.zeros, pointers);
    auto* out = reinterpret_cast<typename Kernel::Word*>(scratch.b) + d * kPanelWidth;
    for (auto& pointer : pointers) pointer += unit.panel_begin * kPanelWidth;
    for (int64_t p = unit.panel_begin; p < unit.panel_end; ++p, out += steps * kPanelWidth) {
      pack_columns<kPanelWidth>(pointers, source.matrix.cols - p * kPanelWidth, kPanelWidth, out);
      for (auto& pointer : pointers) pointer += kPanelWidth;
    }
  }
}

// Computes the sums of one tile over `call.depth` packed steps, in calls of kGradSteps. `finish` says that
// these are the last rows. The sums are then complete, and are stored as rows of the gradient.
template <class Kernel, class Call>
HWY_INLINE void grad_tile(const Kernel& kernel, Call call, bool finish,
                          const GradientRows<typename Kernel::T>& rows) {
  constexpr int64_t kCallSteps = Kernel::kGradSteps;
  const int64_t step_words = Kernel::kBlock == 1 ? call.rows : Kernel::kRows;
  for (int64_t left = call.depth; left > 0; left -= kCallSteps) {
    call.depth = std::min(kCallSteps, left);
    if (finish && left <= kCallSteps) return kernel.gradient(call, rows);
    kernel.template multiply<false>(call);
    call.a += kCallSteps * step_words;
    call.b += kCallSteps * kPanelWidth;
    call.accumulate = true;
  }
}

// Computes a unit's sums for columns [k.begin, k.end) of A, which are rows of the gradient's panels. k.begin
// is even, so that pairs of rows stay together.
template <class Kernel>
HWY_NOINLINE void grad_columns(const Kernel& kernel, const GemmUnit& unit, Range k,
                               const RowsProduct& product, GmmScratch& scratch) {
  using T = typename Kernel::T;
  using Word = typename Kernel::Word;
  constexpr int kRows = Kernel::kRows, kPanels = Kernel::kPanels;
  const int64_t tile_floats = kRows * kPanelWidth;
  const int64_t strips = (k.size() + kRows - 1) / kRows;
  // A group of many rows (tall) is packed block by block, and the unit keeps the sums of all tiles between
  // the blocks.
  const bool tall = unit.row_end - unit.row_begin > kGradRows;
  const int64_t block_rows = tall ? kTallGradRows : kGradRows;
  const int64_t tile_stride = tall ? strips * tile_floats : tile_floats;
  T* group = group_panels<T>(product.dw, unit.group);
  const int64_t gradient_stride = product.dw.panel_rows() * kPanelWidth;
  alignas(64) float half[kPanels * kPanelWidth];
  for (int64_t begin = unit.row_begin; begin < unit.row_end; begin += block_rows) {
    const Range rows{begin, std::min(begin + block_rows, unit.row_end)};
    const int64_t steps = num_steps<Kernel>(rows);
    const int64_t strip_stride = strip_words<Kernel>(steps) + 16, panel_stride = steps * kPanelWidth;
    pack_a<Kernel>(product.a, rows, k, strip_stride, scratch);
    pack_b<Kernel>(product.dc, rows, unit, scratch);
    const Word *packed_a = reinterpret_cast<const Word*>(scratch.a),
               *packed_b = reinterpret_cast<const Word*>(scratch.b);
    // Strips of one pass stay in L2 while the panels pass by.
    // The number of strips is even, so that no pass ends within a pair of rows.
    const int64_t pass_strips = std::max<int64_t>(2, kGradStripBytes / (strip_stride * 4) / 2 * 2);
    for (int64_t pass = 0; pass < strips; pass += pass_strips) {
      const int64_t pass_end = std::min(strips, pass + pass_strips);
      for (int64_t panel = unit.panel_begin; panel < unit.panel_end; panel += kPanels) {
        scratch.poll();
        const int64_t p = panel - unit.panel_begin;
        const int panels = static_cast<int>(std::min<int64_t>(kPanels, unit.panel_end - panel));
        for (int64_t s = pass; s < pass_end; ++s) {
          const int64_t k0 = k.begin + s * kRows;
          const Range strip_k{k0, std::min(k0 + kRows, k.end)};
          float* sums = scratch.c + (tall ? (p * strips + s) * tile_floats : 0);
          grad_tile(kernel,
                    TileCall{static_cast<int>(strip_k.size()), panels, packed_a + s * strip_stride,
                             packed_b + p * panel_stride, panel_stride, steps, sums, tile_stride,
                             begin > unit.row_begin},
                    rows.end == unit.row_end,
                    {strip_k, product.dw.k, group + panel * gradient_stride, gradient_stride,
                     product.a.scale * product.dc.scale, half});
        }
      }
    }
  }
}

// Computes one unit: panels [panel_begin, panel_end) of one group's gradient, over all rows of the group.
// They are zero if the group has no rows.
template <class Kernel>
void grad_unit(const Kernel& kernel, const GemmUnit& unit, const RowsProduct& product, GmmScratch& scratch) {
  using T = typename Kernel::T;
  if (unit.row_begin == unit.row_end) {
    T* group = group_panels<T>(product.dw, unit.group);
    const int64_t panel = product.dw.panel_rows() * kPanelWidth;
    std::fill(group + unit.panel_begin * panel, group + unit.panel_end * panel, T{});
    return;
  }
  constexpr int64_t kColumns = kGradColumns / (2 * Kernel::kRows) * 2 * Kernel::kRows;
  for (int64_t k = 0; k < product.dw.k; k += kColumns)
    grad_columns(kernel, unit, {k, std::min(k + kColumns, product.dw.k)}, product, scratch);
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
