// Units of work of our grouped GEMM for the products over columns: forward and input gradient. They differ in
// where a block of B comes from (a weight panel as it lies, or its transpose) and in what happens to a
// finished tile. Include inside HWY_NAMESPACE, once a target.

#if defined(MOEHILL_GMM_FORWARD_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_FORWARD_INL_H
#undef MOEHILL_GMM_FORWARD_INL_H
#else
#define MOEHILL_GMM_FORWARD_INL_H
#endif

#include "moehill/kernels/block_sizes.h"
#include "moehill/kernels/gemm_units.h"
#include "moehill/kernels/gmm_model.h"
#include "moehill/kernels/gmm_pack-inl.h"
#include "moehill/kernels/gmm_scratch.h"
#include "moehill/kernels/swiglu-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Pointers to the elements [begin, ...) of kTileRows rows of a strip; missing and padding rows read zeros.
template <typename T>
HWY_INLINE void strip_rows(const RowSource& source, int64_t row, int64_t row_end, int64_t begin,
                           const float* zeros, const T** rows) {
  for (int i = 0; i < kTileRows; ++i) {
    const int64_t r = row + i;
    const int64_t from = r >= row_end ? -1 : source.index == nullptr ? r : source.index[r];
    rows[i] = from < 0 ? reinterpret_cast<const T*>(zeros) : source.matrix.row<const T>(from) + begin;
  }
}

// Packs depth [k0, k0 + depth) of the unit's rows, in chunks of `chunk` depth: chunk c begins at chunk_stride
// * c, its strip s at s * kTileRows * (depth of the chunk).
template <typename T>
void pack_rows(const RowSource& source, const GemmUnit& unit, int64_t k0, int64_t depth, int64_t chunk,
               int64_t chunk_stride, GmmScratch& scratch) {
  scratch.num_packed += (unit.row_end - unit.row_begin) * depth;
  const T* rows[kTileRows];
  for (int64_t r = unit.row_begin, s = 0; r < unit.row_end; r += kTileRows, ++s) {
    for (int64_t c = 0; c * chunk < depth; ++c) {
      const int64_t part = std::min(chunk, depth - c * chunk);
      strip_rows<T>(source, r, unit.row_end, k0 + c * chunk, scratch.zeros, rows);
      pack_strip_transposed<T>(rows, part, source.scale, scratch.a + c * chunk_stride + s * kTileRows * part);
    }
  }
}

// Asks for part s of `parts` of the `bytes` at p, to be in L2 when they are needed.
HWY_INLINE void prefetch_part(const void* p, int64_t bytes, int64_t s, int64_t parts) {
  const char* at = static_cast<const char*>(p);
  for (int64_t i = bytes * s / parts / 64 * 64; i < bytes * (s + 1) / parts; i += 64)
    __builtin_prefetch(at + i, 0, 2);
}

// A block of B: `depth` of the product from k0 on, 16 columns of the result.
struct BlockPlace {
  int64_t panel, k0, depth;
};

// Blocks of B for the forward product: the panel itself.
template <typename T>
struct PanelBlocks {
  const T* group;
  int64_t k;  // rows of a panel

  const T* at(const BlockPlace& place) const { return group + (place.panel * k + place.k0) * kPanelWidth; }
  const T* block(const BlockPlace& place, float*) const { return at(place); }
  void prefetch(const BlockPlace& place, int64_t s, int64_t parts) const {
    prefetch_part(at(place), place.depth * kPanelWidth * static_cast<int64_t>(sizeof(T)), s, parts);
  }
};

// The same for few strips of rows: a panel is one stream, which the hardware's own prefetch follows.
template <typename T>
struct StreamedBlocks : PanelBlocks<T> {
  void prefetch(const BlockPlace&, int64_t, int64_t) const {}
};

// The same from bf16 panels, widened first.
struct WidenedBlocks {
  PanelBlocks<bf16> panels;

  const float* block(const BlockPlace& place, float* out) const {
    const bf16* from = panels.at(place);
    for (int64_t i = 0; i < place.depth * kPanelWidth; i += kPanelWidth) {
      VF row[kTileVectors];
      load_panel_row(from + i, row);
      for (int v = 0; v < kTileVectors; ++v) hn::Store(row[v], DF(), out + i + v * kLanes);
    }
    return out;
  }
  void prefetch(const BlockPlace& place, int64_t s, int64_t parts) const { panels.prefetch(place, s, parts); }
};

// Blocks of B for the product with the transposed matrix: output panel p is rows 16 p to 16 p + 15 of the
// weights, and depth runs over their columns, a multiple of 16 at a time.
template <typename T>
struct TransposedBlocks {
  const T* group;
  int64_t k;  // rows of the weights = columns of the result

  // The 16 x 16 weights of `place` at depth n.
  const T* at(const BlockPlace& place, int64_t n) const {
    return group + ((place.k0 + n) / kPanelWidth * k + place.panel * kPanelWidth) * kPanelWidth;
  }
  const float* block(const BlockPlace& place, float* out) const {
    const int64_t num_rows = k - place.panel * kPanelWidth;
    for (int64_t n = 0; n < place.depth; n += kPanelWidth) {
      if (num_rows >= kPanelWidth) {
        transpose_block(at(place, n), out + n * kPanelWidth);
      } else {
        transpose_short_block(at(place, n), num_rows, out + n * kPanelWidth);
      }
    }
    return out;
  }
  void prefetch(const BlockPlace& place, int64_t s, int64_t parts) const {
    const int64_t squares = (place.depth + kPanelWidth - 1) / kPanelWidth;
    for (int64_t i = squares * s / parts; i < squares * (s + 1) / parts; ++i) {
      prefetch_part(at(place, i * kPanelWidth), kPanelWidth * kPanelWidth * static_cast<int64_t>(sizeof(T)),
                    0, 1);
    }
  }
};

// Tiles to a row-major matrix.
template <typename T, bool kAdd>
struct StoreTiles {
  MatView c;

  HWY_INLINE void finish(const float* tile, int64_t row, int num_rows, int64_t panel) const {
    const int64_t column = panel * kPanelWidth;
    const int64_t columns = std::min(kPanelWidth, c.cols - column);
    for (int i = 0; i < num_rows; ++i) {
      T* out = c.row<T>(row + i) + column;
      const float* in = tile + i * kPanelWidth;
      if (columns == kPanelWidth) {
        for (int j = 0; j < 16; j += kPart) {
          VP v = hn::LoadU(DP(), in + j);
          if (kAdd) v = hn::Add(v, load_part(out + j));
          store_part(v, out + j);
        }
      } else {
        for (int64_t j = 0; j < columns; ++j) out[j] = from_f32<T>(kAdd ? in[j] + to_f32(out[j]) : in[j]);
      }
    }
  }
};

// Tiles of a gate-up product: 8 results of SwiGLU a row, and the products themselves where someone keeps
// them.
template <typename T>
struct SwigluTiles {
  ForwardOutput out;

  HWY_INLINE void finish(const float* tile, int64_t row, int num_rows, int64_t panel) const {
    const int64_t m = panel * kGateUpWidth;
    const int64_t columns = std::min(kGateUpWidth, out.h.cols - m);
    alignas(64) float result[kGateUpWidth];
    for (int i = 0; i < num_rows; ++i) {
      const float* in = tile + i * kPanelWidth;
      const VP factor = hn::Set(DP(), out.row_scale == nullptr ? 1.0f : out.row_scale[row + i]);
      for (int j = 0; j < kGateUpWidth; j += kPart) {
        const VP g = hn::LoadU(DP(), in + j), u = hn::LoadU(DP(), in + j + kGateUpWidth);
        hn::StoreU(hn::Mul(factor, swiglu(g, u)), DP(), result + j);
      }
      T* h = out.h.row<T>(row + i) + m;
      if (columns == kGateUpWidth) {
        for (int j = 0; j < kGateUpWidth; j += kPart) store_part(hn::LoadU(DP(), result + j), h + j);
      } else {
        for (int64_t j = 0; j < columns; ++j) h[j] = from_f32<T>(result[j]);
      }
      if (out.c.data != nullptr) {
        T* c = out.c.row<T>(row + i) + panel * kPanelWidth;
        for (int j = 0; j < 16; j += kPart) store_part(hn::LoadU(DP(), in + j), c + j);
      }
    }
  }
};

// The block after `place` in the order of columns_unit(): panels of the pass, then depth, then the next pass.
// Past the end of the unit it is the unit's first block, which costs nothing to ask for.
HWY_INLINE BlockPlace next_block(const GemmUnit& unit, const BlockPlace& place, int64_t pass,
                                 int64_t pass_end, int64_t depth_all, int64_t chunk) {
  if (place.panel + 1 < pass_end) return {place.panel + 1, place.k0, place.depth};
  const int64_t k = place.k0 + place.depth;
  if (k < depth_all) return {pass, k, std::min(chunk, depth_all - k)};
  return {pass_end < unit.panel_end ? pass_end : unit.panel_begin, 0, std::min(chunk, depth_all)};
}

// One unit: packed rows times its panels. depth_all is the whole depth of the product, `chunk` the depth of a
// tile call.
template <typename T, class Blocks, class Output>
HWY_NOINLINE void columns_unit(const GemmUnit& unit, const RowSource& a, int64_t depth_all, int64_t chunk,
                               const ProductBlocks& sizes, const Blocks& blocks, const Output& output,
                               GmmScratch& scratch) {
  const int64_t rows = unit.row_end - unit.row_begin;
  const int64_t strips = (rows + kTileRows - 1) / kTileRows;
  const int64_t call_strips = (sizes.call_rows + kTileRows - 1) / kTileRows;
  const int64_t chunk_stride = strips * kTileRows * chunk + 16;
  const int64_t tile_floats = kTileRows * kPanelWidth;
  const bool deep = depth_all > sizes.depth;
  for (int64_t base = 0; base < depth_all; base += sizes.depth) {
    const int64_t depth = std::min(sizes.depth, depth_all - base);
    pack_rows<T>(a, unit, base, depth, chunk, chunk_stride, scratch);
    for (int64_t pass = unit.panel_begin; pass < unit.panel_end; pass += sizes.pass_panels) {
      scratch.poll();
      const int64_t pass_end = std::min<int64_t>(unit.panel_end, pass + sizes.pass_panels);
      float* sums = scratch.c + (deep ? (pass - unit.panel_begin) * strips * tile_floats : 0);
      for (int64_t k = 0; k < depth; k += chunk) {
        const int64_t part = std::min(chunk, depth - k);
        const bool last = base + k + part == depth_all;
        const float* strips_a = scratch.a + k / chunk * chunk_stride;
        for (int64_t call = 0; call < strips; call += call_strips) {
          const int64_t call_end = std::min(strips, call + call_strips);
          for (int64_t panel = pass; panel < pass_end; ++panel) {
            const BlockPlace place{panel, base + k, part};
            const BlockPlace next = next_block(unit, place, pass, pass_end, depth_all, chunk);
            const auto* b = blocks.block(place, scratch.b);
            ++scratch.num_blocks;
            for (int64_t s = call; s < call_end; ++s) {
              const int64_t row = unit.row_begin + s * kTileRows;
              const int num_rows = static_cast<int>(std::min<int64_t>(kTileRows, unit.row_end - row));
              float* tile = sums + ((panel - pass) * strips + s) * tile_floats;
              blocks.prefetch(next, s, strips);
              tile_rows(num_rows, strips_a + s * kTileRows * part, b, part, tile, base + k > 0);
              if (last) output.finish(tile, row, num_rows, panel);
            }
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
