// Packing for our grouped GEMM: rows of operands into strips of kTileRows, transposed blocks of weights into
// panels, and results back into their storage. Works on vectors of at most 8 lanes. Include inside
// HWY_NAMESPACE, once a target.

#if defined(MOEHILL_GMM_PACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_PACK_INL_H
#undef MOEHILL_GMM_PACK_INL_H
#else
#define MOEHILL_GMM_PACK_INL_H
#endif

#include <algorithm>

#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/gmm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

using DU = hn::RebindToUnsigned<DP>;
using VU = hn::Vec<DU>;

HWY_INLINE VP low_half(VU pairs) { return hn::BitCast(DP(), hn::ShiftLeft<16>(pairs)); }
HWY_INLINE VP high_half(VU pairs) { return hn::BitCast(DP(), hn::And(pairs, hn::Set(DU(), 0xffff0000u))); }

// 4 x 4 blocks of 32-bit lanes transposed within each 128 bits of v[0..3].
template <class D = DU>
HWY_INLINE void transpose_4x4(VU* v) {
  const D d;
  const hn::Repartition<uint64_t, D> d64;
  const auto a = BitCast(d64, InterleaveLower(d, v[0], v[1])),
             b = BitCast(d64, InterleaveUpper(d, v[0], v[1]));
  const auto e = BitCast(d64, InterleaveLower(d, v[2], v[3])),
             f = BitCast(d64, InterleaveUpper(d, v[2], v[3]));
  v[0] = BitCast(d, InterleaveLower(d64, a, e));
  v[1] = BitCast(d, InterleaveUpper(d64, a, e));
  v[2] = BitCast(d, InterleaveLower(d64, b, f));
  v[3] = BitCast(d, InterleaveUpper(d64, b, f));
}

// v[j] lane i = row(i)[j] for kPart rows of kPart 32-bit words. Eight lanes take their halves from memory,
// which saves a third of the shuffles.
template <class Row, class D = DU>
HWY_INLINE void load_transposed(const Row& row, VU* v) {
  const D d;
  if constexpr (kPart == 8) {
    const hn::Half<D> half;
    for (int i = 0; i < 4; ++i) {
      v[i] = Combine(d, LoadU(half, row(i + 4)), LoadU(half, row(i)));
      v[i + 4] = Combine(d, LoadU(half, row(i + 4) + 4), LoadU(half, row(i) + 4));
    }
    transpose_4x4(v);
    transpose_4x4(v + 4);
  } else {
    for (int i = 0; i < kPart; ++i) v[i] = hn::LoadU(d, row(i));
    if constexpr (kPart == 4) transpose_4x4(v);
  }
}

// Strip of kTileRows rows for a product over their columns: out[k * kTileRows + i] = scale * row[i][k], k <
// depth. A 32-bit word is one f32, or two neighbouring bf16. Writes up to kPart floats past its end (the next
// strip, or slack, is written later).
template <typename T>
HWY_INLINE void pack_strip_transposed(const T* const* rows, int64_t depth, float scale,
                                      float* HWY_RESTRICT out) {
  const DP d;
  constexpr int kGroups = (kTileRows + kPart - 1) / kPart;
  constexpr int kPerWord = 4 / sizeof(T);
  const VP factor = hn::Set(d, scale);
  int64_t k = 0;
  for (; k + kPart * kPerWord <= depth; k += kPart * kPerWord) {
    VU v[kGroups * kPart];
    for (int g = 0; g < kGroups; ++g) {
      const auto row = [&](int i) {
        return reinterpret_cast<const uint32_t*>(rows[std::min(g * kPart + i, kTileRows - 1)] + k);
      };
      load_transposed(row, v + g * kPart);
    }
    for (int j = 0; j < kPart; ++j) {
      float* to = out + (k + j * kPerWord) * kTileRows;
      for (int g = 0; g < kGroups; ++g) {
        const VU words = v[g * kPart + j];
        if constexpr (kPerWord == 1) {
          hn::StoreU(hn::Mul(factor, hn::BitCast(d, words)), d, to + g * kPart);
        } else {
          hn::StoreU(hn::Mul(factor, low_half(words)), d, to + g * kPart);
        }
      }
      if constexpr (kPerWord == 2) {
        for (int g = 0; g < kGroups; ++g) {
          hn::StoreU(hn::Mul(factor, high_half(v[g * kPart + j])), d, to + kTileRows + g * kPart);
        }
      }
    }
  }
  for (; k < depth; ++k) {
    for (int i = 0; i < kTileRows; ++i) out[k * kTileRows + i] = scale * to_f32(rows[i][k]);
  }
}

// Part of a strip for a product over rows: out[i] = scale * row[i] for kTileRows columns of which `columns`
// exist.
template <typename T>
HWY_INLINE void pack_strip_row(const T* row, int64_t columns, float scale, float* HWY_RESTRICT out) {
  const DP d;
  constexpr int kGroups = (kTileRows + kPart - 1) / kPart;
  if (columns >= kGroups * kPart) {
    for (int g = 0; g < kGroups; ++g) {
      hn::StoreU(hn::Mul(hn::Set(d, scale), load_part(row + g * kPart)), d, out + g * kPart);
    }
  } else {
    for (int i = 0; i < kTileRows; ++i) out[i] = i < columns ? scale * to_f32(row[i]) : 0.0f;
  }
}

// One panel row of 16 columns from a row-major row, of which `columns` exist.
template <typename T>
HWY_INLINE void pack_panel_row(const T* row, int64_t columns, float scale, float* HWY_RESTRICT out) {
  const DP d;
  if (columns >= kPanelWidth) {
    for (int i = 0; i < 16; i += kPart) {
      hn::StoreU(hn::Mul(hn::Set(d, scale), load_part(row + i)), d, out + i);
    }
  } else {
    for (int i = 0; i < 16; ++i) out[i] = i < columns ? scale * to_f32(row[i]) : 0.0f;
  }
}

// out [16 columns][16] = transpose of 16 panel rows at `block`. A word of a bf16 panel is a pair of columns
// (c, c + 8), so that half the words are transposed.
template <typename T>
HWY_INLINE void transpose_block(const T* block, float* HWY_RESTRICT out) {
  constexpr int kWords = 16 * static_cast<int>(sizeof(T)) / 4;
  for (int r = 0; r < 16; r += kPart) {
    for (int c = 0; c < kWords; c += kPart) {
      VU v[kPart];
      load_transposed([&](int i) { return reinterpret_cast<const uint32_t*>(block + (r + i) * 16) + c; }, v);
      for (int j = 0; j < kPart; ++j) {
        if constexpr (sizeof(T) == 4) {
          hn::StoreU(hn::BitCast(DP(), v[j]), DP(), out + (c + j) * 16 + r);
        } else {
          hn::StoreU(low_half(v[j]), DP(), out + (c + j) * 16 + r);
          hn::StoreU(high_half(v[j]), DP(), out + (c + j + 8) * 16 + r);
        }
      }
    }
  }
}

// The same where only `num_rows` panel rows exist; the others are taken as zero.
template <typename T>
HWY_NOINLINE void transpose_short_block(const T* block, int64_t num_rows, float* out) {
  alignas(64) T padded[256] = {};
  std::copy(block, block + num_rows * 16, padded);
  transpose_block(padded, out);
}

// One row of a tile into a weight panel's row.
HWY_INLINE void store_panel_row(const float* tile_row, float* out) {
  for (int c = 0; c < 16; c += kPart) hn::StoreU(hn::LoadU(DP(), tile_row + c), DP(), out + c);
}
HWY_INLINE void store_panel_row(const float* tile_row, bf16* out) {
  const DU du;
  for (int c = 0; c < 8; c += kPart) {
    const auto even = round_bits(hn::LoadU(DP(), tile_row + c));
    const auto odd = round_bits(hn::LoadU(DP(), tile_row + c + 8));
    hn::StoreU(hn::Or(hn::ShiftRight<16>(even), hn::And(odd, hn::Set(du, 0xffff0000u))), du,
               reinterpret_cast<uint32_t*>(out) + c);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
