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

// v[i] lane j <-> v[j] lane i for a kPart x kPart block in registers (kPart = 8, 4 or 1 lanes).
template <class D = DP>
HWY_INLINE void transpose_part(VP* v) {
  if constexpr (kPart >= 4) {
    const D d;
    const hn::Repartition<uint64_t, D> d64;
    VP pairs[kPart];
    for (int i = 0; i < kPart; i += 2) {
      pairs[i] = InterleaveLower(d, v[i], v[i + 1]);
      pairs[i + 1] = InterleaveUpper(d, v[i], v[i + 1]);
    }
    VP quads[kPart];
    for (int i = 0; i < kPart; i += 4) {
      for (int j = 0; j < 2; ++j) {
        const auto a = BitCast(d64, pairs[i + j]);
        const auto b = BitCast(d64, pairs[i + j + 2]);
        quads[i + 2 * j] = BitCast(d, InterleaveLower(d64, a, b));
        quads[i + 2 * j + 1] = BitCast(d, InterleaveUpper(d64, a, b));
      }
    }
    for (int i = 0; i < 4; ++i) {
      if constexpr (kPart == 8) {
        v[i] = ConcatLowerLower(d, quads[i + 4], quads[i]);
        v[i + 4] = ConcatUpperUpper(d, quads[i + 4], quads[i]);
      } else {
        v[i] = quads[i];
      }
    }
  }
}

// Strip of kTileRows rows for a product over their columns: out[k * kTileRows + i] = scale * row[i][k], k <
// depth. Writes up to kPart floats past its end (the next strip, or slack, is written later).
template <typename T>
HWY_INLINE void pack_strip_transposed(const T* const* rows, int64_t depth, float scale,
                                      float* HWY_RESTRICT out) {
  const DP d;
  constexpr int kGroups = (kTileRows + kPart - 1) / kPart;
  const VP factor = hn::Set(d, scale);
  int64_t k = 0;
  for (; k + kPart <= depth; k += kPart) {
    VP v[kGroups * kPart];
    for (int i = 0; i < kGroups * kPart; ++i) {
      v[i] = i < kTileRows ? hn::Mul(factor, load_part(rows[i] + k)) : hn::Zero(d);
    }
    for (int g = 0; g < kGroups; ++g) transpose_part(v + g * kPart);
    for (int j = 0; j < kPart; ++j) {
      for (int g = 0; g < kGroups; ++g)
        hn::StoreU(v[g * kPart + j], d, out + (k + j) * kTileRows + g * kPart);
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

// Loads kPart columns from column c on of one panel row.
HWY_INLINE VP load_panel_part(const float* row, int c) { return hn::LoadU(DP(), row + c); }
HWY_INLINE VP load_panel_part(const bf16* row, int c) {
  const hn::RebindToUnsigned<DP> du;
  const auto pairs = hn::LoadU(du, reinterpret_cast<const uint32_t*>(row) + c % 8);
  return c < 8 ? hn::BitCast(DP(), hn::ShiftLeft<16>(pairs))
               : hn::BitCast(DP(), hn::And(pairs, hn::Set(du, 0xffff0000u)));
}

// out [16 columns][16] = transpose of 16 panel rows at `block`; rows from `num_rows` on are taken as zero.
template <typename T>
HWY_INLINE void transpose_block(const T* block, int64_t num_rows, float* HWY_RESTRICT out) {
  alignas(64) T padded[256];
  if (num_rows < 16) {
    std::copy(block, block + num_rows * 16, padded);
    std::fill(padded + num_rows * 16, padded + 256, T{});
    block = padded;
  }
  for (int r = 0; r < 16; r += kPart) {
    for (int c = 0; c < 16; c += kPart) {
      VP v[kPart];
      for (int i = 0; i < kPart; ++i) v[i] = load_panel_part(block + (r + i) * 16, c);
      transpose_part(v);
      for (int i = 0; i < kPart; ++i) hn::StoreU(v[i], DP(), out + (c + i) * 16 + r);
    }
  }
}

// One row of a tile into a weight panel's row.
HWY_INLINE void store_panel_row(const float* tile_row, float* out) {
  for (int c = 0; c < 16; c += kPart) hn::StoreU(hn::LoadU(DP(), tile_row + c), DP(), out + c);
}
HWY_INLINE void store_panel_row(const float* tile_row, bf16* out) {
  const hn::RebindToUnsigned<DP> du;
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
