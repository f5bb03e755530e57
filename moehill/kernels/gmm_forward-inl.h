// This file computes one unit of work of the products over columns, forward and input gradient. The two
// differ only in the source of a block of B (a panel of the weights as it lies, or its transpose) and in
// their epilogue. Include the file inside HWY_NAMESPACE, once for each target.
//
// The loops are those of the usual packed GEMM (Goto, van de Geijn: "Anatomy of high-performance matrix
// multiplication", 2008). A strip has as many rows as a tile; a pass is some panels. The loops go, from the
// outside in, over packed depth, passes of panels, depth of a tile call, groups of strips, panels, strips.
//
//   while (const GemmUnit* unit = queue.take()) columns_unit(kernel, *unit, product, depth, blocks, scratch);

#if defined(MOEHILL_GMM_FORWARD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_FORWARD_INL_H
#undef MOEHILL_GMM_FORWARD_INL_H
#else
#define MOEHILL_GMM_FORWARD_INL_H
#endif

#include "moehill/kernels/block_sizes.h"
#include "moehill/kernels/gemm_units.h"
#include "moehill/kernels/gmm_kernel-inl.h"
#include "moehill/kernels/gmm_model.h"
#include "moehill/kernels/gmm_pack-inl.h"
#include "moehill/kernels/gmm_product.h"
#include "moehill/kernels/gmm_scratch.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Sets pointers to elements [begin, ...) of kRows rows of a strip. The pointer of a missing row, or of one
// past row_end, is to zeros.
template <int kRows, typename T>
HWY_INLINE void strip_rows(const RowSource& source, int64_t row, int64_t row_end, int64_t begin,
                           const float* zeros, const T** rows) {
  for (int i = 0; i < kRows; ++i) {
    const int64_t r = row + i;
    const int64_t from = r >= row_end ? -1 : source.index == nullptr ? r : source.index[r];
    rows[i] = from < 0 ? reinterpret_cast<const T*>(zeros) : source.matrix.row<const T>(from) + begin;
  }
}

// UnitDepth is the depth of a unit: the number of values in its rows; that number rounded up as panels store
// it; how much of it is packed together; and how much one tile call takes.
struct UnitDepth {
  int64_t values, all, packed, call;
};
template <class Kernel>
UnitDepth unit_depth(const ColumnsProduct& product, int64_t call) {
  return {product.depth, packed_depth<Kernel>(product.depth), product.sizes.depth,
          std::min(call, product.sizes.depth)};
}

// Cuts a unit's rows into strips; the last strip may have fewer rows. Strips are as equal as possible,
// because a tile of one row loads as much of B as a tile of 12. Tiles of AMX have 16 rows in any case, so
// their strips are full.
template <class Kernel>
struct UnitStrips {
  explicit UnitStrips(const GemmUnit& unit) {
    const int64_t rows = unit.row_end - unit.row_begin;
    count = (rows + Kernel::kRows - 1) / Kernel::kRows;
    if (Kernel::kBlock == 1 && count > 0) height = (rows + count - 1) / count;
  }
  int64_t count, height = Kernel::kRows;
};

// Packs the unit's rows from depth k0 on, in chunks of the depth of a tile call. Chunk c begins at
// chunk_stride * c, and strip s in it at s * kRows * (words of the chunk's depth).
template <class Kernel>
void pack_rows(const RowSource& source, const GemmUnit& unit, const UnitDepth& depth, int64_t k0,
               int64_t chunk_stride, GmmScratch& scratch) {
  using T = typename Kernel::T;
  const int64_t packed = std::min(depth.packed, depth.all - k0);
  scratch.num_packed += (unit.row_end - unit.row_begin) * packed;
  auto* out = reinterpret_cast<typename Kernel::Word*>(scratch.a);
  const T* rows[Kernel::kRows];
  const int64_t height = UnitStrips<Kernel>(unit).height;
  for (int64_t r = unit.row_begin, s = 0; r < unit.row_end; r += height, ++s) {
    for (int64_t c = 0; c * depth.call < packed; ++c) {
      const int64_t part = std::min(depth.call, packed - c * depth.call), begin = k0 + c * depth.call;
      strip_rows<Kernel::kRows, T>(source, r, unit.row_end, begin, scratch.zeros, rows);
      const int num_rows = static_cast<int>(std::min(height, unit.row_end - r));
      const StripDepth strip{std::min(part, depth.values - begin), part};
      auto* to = out + c * chunk_stride + s * strip_words<Kernel>(part / Kernel::kDepth);
      if constexpr (Kernel::kBlock == 1) {
        pack_strip_transposed<Kernel::kRows>(rows, num_rows, strip, to);
      } else {
        pack_strip_blocks<Kernel::kRows, Kernel::kBlock>(rows, num_rows, strip, to);
      }
    }
  }
}

// Prefetches part s of `parts` of the `bytes` at p into L2.
HWY_INLINE void prefetch_part(const void* p, int64_t bytes, int64_t s, int64_t parts) {
  const char* at = static_cast<const char*>(p);
  for (int64_t i = bytes * s / parts / 64 * 64; i < bytes * (s + 1) / parts; i += 64)
    __builtin_prefetch(at + i, 0, 2);
}

// Pieces are `count` pieces of memory of `bytes` each, `stride` bytes apart: the panels of a block of B.
struct Pieces {
  const void* first;
  int64_t count, bytes, stride;
};

// Returns the memory that a tile call of `steps` steps should prefetch, so that `parts` calls together
// prefetch all pieces.
HWY_INLINE Ahead part_ahead(const Pieces& pieces, int64_t s, int64_t parts, int64_t steps) {
  const char* first = static_cast<const char*>(pieces.first);
  const int64_t piece = pieces.count * s / parts;
  if (parts >= pieces.count) {  // several calls share a piece: this is call i of the n that do
    const auto begin = [&](int64_t p) { return (p * parts + pieces.count - 1) / pieces.count; };
    const int64_t i = s - begin(piece), n = begin(piece + 1) - begin(piece);
    return {first + piece * pieces.stride + pieces.bytes * i / n, (pieces.bytes - 1) / (n * steps) + 1};
  }
  const int64_t count = pieces.count * (s + 1) / parts - piece;
  // Each piece rounds its number of steps up. `count` steps are kept back for that, so that the last piece
  // ends within the call.
  const int64_t step = count * pieces.bytes / std::max<int64_t>(1, steps - count) + 1;
  const int64_t run = (pieces.bytes + step - 1) / step;
  return {first + piece * pieces.stride, step, run, pieces.stride - run * step};
}

// BlockPlace is a block of B: `depth` values of the product from k0 on, and `panels` panels of the result's
// columns.
struct BlockPlace {
  int64_t panel, panels, k0, depth;
};

// Block says where a tile finds a block of B: panel p begins at data + p * stride.
template <typename B>
struct Block {
  const B* data;
  int64_t stride;
};

// PanelBlocks are the blocks of B of the forward product: the panels themselves, where they lie.
template <typename T>
struct PanelBlocks {
  static constexpr bool kPanels = true, kStream = false;
  const T* group;
  int64_t panel_rows;

  const T* at(const BlockPlace& place) const {
    return group + (place.panel * panel_rows + place.k0) * kPanelWidth;
  }
  Block<T> block(const BlockPlace& place, float*) const { return {at(place), panel_rows * kPanelWidth}; }
  void prefetch(const BlockPlace& place, int64_t s, int64_t parts) const {
    for (int64_t p = 0; p < place.panels; ++p) {
      prefetch_part(at(place) + p * panel_rows * kPanelWidth,
                    place.depth * kPanelWidth * static_cast<int64_t>(sizeof(T)), s, parts);
    }
  }
  Ahead ahead(const BlockPlace& place, int64_t s, int64_t parts, int64_t steps) const {
    constexpr int64_t kRowBytes = kPanelWidth * static_cast<int64_t>(sizeof(T));
    return part_ahead({at(place), place.panels, place.depth * kRowBytes, panel_rows * kRowBytes}, s, parts,
                      steps);
  }
};

// StreamedBlocks are panels for units of few strips. Such a unit reads each panel once, as one stream, which
// the tile itself prefetches.
template <typename T>
struct StreamedBlocks : PanelBlocks<T> {
  static constexpr bool kStream = true;
  void prefetch(const BlockPlace&, int64_t, int64_t) const {}
};

// PairBlocks are panels of bf16 as words of pairs, for the dot tile and the AMX tile.
struct PairBlocks : PanelBlocks<bf16> {
  Block<uint32_t> block(const BlockPlace& place, float*) const {
    return {reinterpret_cast<const uint32_t*>(at(place)), panel_rows * kPanelWidth / 2};
  }
};

// WidenedBlocks are panels of bf16 that are first widened to f32, into scratch.
struct WidenedBlocks {
  static constexpr bool kPanels = false, kStream = false;
  PanelBlocks<bf16> panels;

  Block<float> block(const BlockPlace& place, float* out) const {
    for (int64_t p = 0; p < place.panels; ++p) {
      widen_rows(panels.at(place) + p * panels.panel_rows * kPanelWidth, place.depth,
                 out + p * place.depth * kPanelWidth);
    }
    return {out, place.depth * kPanelWidth};
  }
  void prefetch(const BlockPlace& place, int64_t s, int64_t parts) const { panels.prefetch(place, s, parts); }
};

// TransposedBlocks are the blocks of B of the product with the transposed matrix. Panel p of the result is
// rows 16 p to 16 p + 15 of the weights, and depth runs over their columns, 16 at a time.
template <class Kernel>
struct TransposedBlocks {
  static constexpr bool kPanels = false, kStream = false;
  using T = typename Kernel::T;
  using Word = typename Kernel::Word;
  const T* group;
  int64_t panel_rows;  // of the weights: columns of the result, and padding

  // Returns the 16 x 16 weights of `panel` at depth n.
  const T* at(int64_t panel, int64_t n) const {
    return group + (n / kPanelWidth * panel_rows + panel * kPanelWidth) * kPanelWidth;
  }
  Block<Word> block(const BlockPlace& place, float* scratch) const {
    constexpr int64_t kSquare = kPanelWidth * kPanelWidth / Kernel::kDepth;
    Word* out = reinterpret_cast<Word*>(scratch);
    const int64_t squares = (place.depth + kPanelWidth - 1) / kPanelWidth;
    for (int64_t i = 0; i < squares; ++i) {
      for (int64_t p = 0; p < place.panels; ++p) {
        const int64_t num_rows = panel_rows - (place.panel + p) * kPanelWidth;
        const T* from = at(place.panel + p, place.k0 + i * kPanelWidth);
        Word* to = out + (p * squares + i) * kSquare;
        if (num_rows >= kPanelWidth) {
          transpose_block(from, to);
        } else {
          transpose_short_block(from, num_rows, to);
        }
      }
    }
    return {out, squares * kSquare};
  }
  void prefetch(const BlockPlace& place, int64_t s, int64_t parts) const {
    const int64_t squares = (place.depth + kPanelWidth - 1) / kPanelWidth;
    const int64_t bytes = place.panels * kPanelWidth * kPanelWidth * static_cast<int64_t>(sizeof(T));
    for (int64_t i = squares * s / parts; i < squares * (s + 1) / parts; ++i)
      prefetch_part(at(place.panel, place.k0 + i * kPanelWidth), bytes, 0, 1);
  }
  Ahead ahead(const BlockPlace& place, int64_t s, int64_t parts, int64_t steps) const {
    constexpr int64_t kRowBytes = kPanelWidth * static_cast<int64_t>(sizeof(T));
    return part_ahead({at(place.panel, place.k0), (place.depth + kPanelWidth - 1) / kPanelWidth,
                       place.panels * kPanelWidth * kRowBytes, panel_rows * kRowBytes},
                      s, parts, steps);
  }
};

// Returns the block that columns_unit() needs after `place`: the next panels of the pass, then the next
// depth, then the next pass. After the last block of the unit it returns the unit's first one, because the
// tile needs some address to prefetch. Where one part of a deep product's packed depth ends, its answer is
// another block than columns_unit() takes; that costs a useless prefetch and no more.
HWY_INLINE BlockPlace next_block(const GemmUnit& unit, const BlockPlace& place, int64_t pass,
                                 int64_t pass_end, const UnitDepth& depth) {
  const int64_t panel = place.panel + place.panels;
  if (panel < pass_end) return {panel, std::min(place.panels, pass_end - panel), place.k0, place.depth};
  const int64_t k = place.k0 + place.depth;
  if (k < depth.all)
    return {pass, std::min(place.panels, pass_end - pass), k, std::min(depth.call, depth.all - k)};
  const int64_t first = pass_end < unit.panel_end ? pass_end : unit.panel_begin;
  return {first, std::min(place.panels, unit.panel_end - first), 0, std::min(depth.call, depth.all)};
}

// Returns how many panels one tile reads side by side. A unit of one strip reads each panel only once. It
// takes the panels one after the other, because the panel that it prefetches is then next in memory.
template <class Kernel, class Blocks>
HWY_INLINE int64_t panels_of_tile(int64_t strips) {
  return Blocks::kPanels && Kernel::kAsksAhead && strips == 1 ? 1 : Kernel::kPanels;
}

// Multiplies strip s by a block, and prefetches its part of the next block meanwhile.
template <class Kernel, class Blocks, class Call>
HWY_INLINE void multiply_strip(const Kernel& kernel, const Blocks& blocks, const BlockPlace& next, int64_t s,
                               int64_t strips, Call call) {
  if constexpr (Kernel::kAsksAhead && !std::is_same_v<Blocks, WidenedBlocks>) {
    if (Blocks::kPanels && strips == 1) return kernel.template multiply<true>(call);
    call.ahead = blocks.ahead(next, s, strips, call.depth);
    kernel.template multiply<false>(call);
  } else {
    blocks.prefetch(next, s, strips);
    kernel.template multiply<Blocks::kStream>(call);
  }
}

// Computes one unit: packs its rows and multiplies them by its panels. If there is only one strip, the unit
// reads its panels as one stream, which each epilogue interrupts. So it applies the epilogues of several
// panels together.
template <class Kernel, class Blocks>
HWY_NOINLINE void columns_unit(const Kernel& kernel, const GemmUnit& unit, const ColumnsProduct& product,
                               const UnitDepth& depth, const Blocks& blocks, GmmScratch& scratch) {
  constexpr int kRows = Kernel::kRows;
  const UnitStrips<Kernel> cut(unit);
  const int64_t strips = cut.count;
  const auto first_row = [&](int64_t s) { return std::min(unit.row_begin + s * cut.height, unit.row_end); };
  const auto num_rows = [&](int64_t s) { return static_cast<int>(first_row(s + 1) - first_row(s)); };
  const int64_t call_strips = (product.sizes.call_rows + kRows - 1) / kRows;
  // 16 words between chunks keep the chunks out of the same sets of the cache.
  const int64_t chunk_stride = strips * kRows * depth.call / Kernel::kDepth + 16;
  const int64_t tile_floats = kRows * kPanelWidth;
  const bool deep = depth.all > depth.packed;
  const int64_t tile_panels = panels_of_tile<Kernel, Blocks>(strips);
  // This loop goes over the parts of the depth that are packed together. If there is more than one part
  // (deep), the sums of all panels are kept between the parts.
  for (int64_t base = 0; base < depth.all; base += depth.packed) {
    const int64_t packed = std::min(depth.packed, depth.all - base);
    pack_rows<Kernel>(product.rows, unit, depth, base, chunk_stride, scratch);
    // A pass is a number of panels that all packed rows meet before the next panels are touched.
    for (int64_t pass = unit.panel_begin; pass < unit.panel_end; pass += product.sizes.pass_panels) {
      scratch.poll();
      const int64_t pass_end = std::min<int64_t>(unit.panel_end, pass + product.sizes.pass_panels);
      float* sums = scratch.c + (deep ? (pass - unit.panel_begin) * strips * tile_floats : 0);
      const auto sums_of = [&](int64_t panel, int64_t s) {
        return sums + ((panel - pass) * strips + s) * tile_floats;
      };
      const auto finish = [&](Range panels, int64_t s) {
        for (int64_t p = panels.begin; p < panels.end; ++p)
          product.epilogue({sums_of(p, s), unit.group, first_row(s), num_rows(s), p});
      };
      // A block of B has the depth of a tile call, so that it stays in L1 or L2 while the strips meet it.
      for (int64_t k = 0; k < packed; k += depth.call) {
        const int64_t part = std::min(depth.call, packed - k);
        const int64_t words = strip_words<Kernel>(part / Kernel::kDepth);
        const bool last = base + k + part == depth.all;
        const auto* strips_a =
            reinterpret_cast<const typename Kernel::Word*>(scratch.a) + k / depth.call * chunk_stride;
        // These strips meet one block of B before the next block is loaded.
        for (int64_t call_begin = 0; call_begin < strips; call_begin += call_strips) {
          const int64_t call_end = std::min(strips, call_begin + call_strips);
          int64_t waiting = pass;  // the first panel whose epilogue has not been done
          for (int64_t panel = pass; panel < pass_end; panel += tile_panels) {
            const BlockPlace place{panel, std::min(tile_panels, pass_end - panel), base + k, part};
            const BlockPlace next = next_block(unit, place, pass, pass_end, depth);
            const auto b = blocks.block(place, scratch.b);
            ++scratch.num_blocks;
            const int64_t end = panel + place.panels;
            // The sums are complete at the last depth. If there are several strips, each tile is finished at
            // once, while its sums are in L1.
            const bool ends = last && (strips > 1 || end - waiting >= kStreamedEpilogues || end == pass_end);
            for (int64_t s = call_begin; s < call_end; ++s) {
              if (Kernel::kAsksForResults && ends) product.epilogue.ask(first_row(s), num_rows(s), panel);
              multiply_strip(kernel, blocks, next, s, strips,
                             TileCall{num_rows(s), static_cast<int>(place.panels), strips_a + s * words,
                                      b.data, b.stride, part / Kernel::kDepth, sums_of(panel, s),
                                      strips * tile_floats, base + k > 0});
              if (ends) finish({waiting, end}, s);
            }
            if (ends) waiting = end;
          }
        }
      }
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
