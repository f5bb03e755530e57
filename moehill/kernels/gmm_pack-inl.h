// This file packs for this library's grouped GEMM: rows of operands into strips, transposed blocks of weights
// into panels, and results back into their storage. It multiplies nothing. It works on vectors of at most 8
// lanes. Include it inside HWY_NAMESPACE, once for each target.
//
// A packed word is one f32, or two bf16 that are neighbours in the depth of the product. Word is float or
// uint32_t.
//
//   pack_strip_transposed<kRows>(rows, num_rows, depth, out);   // out[d * num_rows + i] = word d of row i

#if defined(MOEHILL_GMM_PACK_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_GMM_PACK_INL_H
#undef MOEHILL_GMM_PACK_INL_H
#else
#define MOEHILL_GMM_PACK_INL_H
#endif

#include <algorithm>
#include <cstring>
#include <type_traits>

#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/gmm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

using DU = hn::RebindToUnsigned<DP>;
using VU = hn::Vec<DU>;

// These functions return the lower and the upper halves of bf16 pairs, each as f32.
HWY_INLINE VU low_half(VU pairs) { return hn::ShiftLeft<16>(pairs); }
HWY_INLINE VU high_half(VU pairs) { return hn::And(pairs, hn::Set(DU(), 0xffff0000u)); }

// Returns a pair as a word: the value with the lower index is in the lower half.
inline uint32_t pair_of(bf16 low, bf16 high) { return low.bits | static_cast<uint32_t>(high.bits) << 16; }

// Transposes 4 x 4 blocks of 32-bit lanes within each 128 bits of v[0..3].
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

// Loads kPart rows of kPart 32-bit words, transposed: lane i of v[j] is row(i)[j]. With eight lanes, rows are
// loaded by halves and combined, which saves a third of the shuffles.
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

// StripDepth is the depth of a strip: its rows have `values` values, and `packed` is that number rounded up
// to whole words. The rest is zero.
struct StripDepth {
  int64_t values, packed;
};

// Packs a strip for a product over the columns of `rows`: out[d * num_rows + i] = word d of row i. It packs
// kGroups vectors of kPart rows at once. It may write up to 2 kPart words past the end of a step; the next
// step or the next strip overwrites them, and after the last one there is room for them.
template <int kRows, int kGroups, typename Word, typename T>
HWY_INLINE void pack_groups(const T* const* rows, int num_rows, const StripDepth& depth,
                            Word* HWY_RESTRICT out) {
  constexpr int kPerLane = 4 / sizeof(T);
  constexpr bool kPairs = std::is_same_v<Word, uint32_t>;
  int64_t k = 0;
  for (; k + kPart * kPerLane <= depth.values; k += kPart * kPerLane) {
    VU v[kGroups * kPart];
    for (int g = 0; g < kGroups; ++g) {
      const auto row = [&](int i) {
        return reinterpret_cast<const uint32_t*>(rows[std::min(g * kPart + i, kRows - 1)] + k);
      };
      load_transposed(row, v + g * kPart);
    }
    for (int j = 0; j < kPart; ++j) {
      uint32_t* to = reinterpret_cast<uint32_t*>(out) + (kPairs ? k / 2 + j : k + j * kPerLane) * num_rows;
      for (int g = 0; g < kGroups; ++g) {
        const VU words = v[g * kPart + j];
        hn::StoreU(kPairs || kPerLane == 1 ? words : low_half(words), DU(), to + g * kPart);
      }
      if constexpr (!kPairs && kPerLane == 2) {
        for (int g = 0; g < kGroups; ++g)
          hn::StoreU(high_half(v[g * kPart + j]), DU(), to + num_rows + g * kPart);
      }
    }
  }
  // This loop packs the rest of the depth, value by value.
  for (; k < depth.packed; k += kPairs ? 2 : 1) {
    for (int i = 0; i < num_rows; ++i) {
      const T first = k < depth.values ? rows[i][k] : T{};
      if constexpr (kPairs) {
        out[k / 2 * num_rows + i] = pair_of(first, k + 1 < depth.values ? rows[i][k + 1] : T{});
      } else {
        out[k * num_rows + i] = to_f32(first);
      }
    }
  }
}

// Packs num_rows rows, at most kRows.
template <int kRows, typename Word, typename T>
HWY_INLINE void pack_strip_transposed(const T* const* rows, int num_rows, const StripDepth& depth,
                                      Word* HWY_RESTRICT out) {
  constexpr int kGroups = (kRows + kPart - 1) / kPart;
  if (kGroups > 1 && num_rows <= kPart) return pack_groups<kRows, 1>(rows, num_rows, depth, out);
  pack_groups<kRows, kGroups>(rows, num_rows, depth, out);
}

// Packs kBlock steps of a row side by side, as AMX reads them. The last block is filled with zeros.
template <int kRows, int kBlock>
HWY_INLINE void pack_strip_blocks(const bf16* const* rows, int num_rows, const StripDepth& depth,
                                  uint32_t* HWY_RESTRICT out) {
  constexpr int64_t kValues = 2 * kBlock;
  for (int64_t k = 0; k < depth.packed; k += kValues, out += kRows * kBlock) {
    const int64_t count = std::clamp<int64_t>(depth.values - k, 0, kValues);
    if (count == kValues) {  // a constant size lets the compiler copy by vectors
      for (int i = 0; i < num_rows; ++i)
        std::memcpy(out + i * kBlock, rows[i] + k, kBlock * sizeof(uint32_t));
      continue;
    }
    for (int i = 0; i < num_rows; ++i) {
      bf16 block[kValues] = {};
      std::copy_n(rows[i] + k, count, block);
      std::memcpy(out + i * kBlock, block, sizeof(block));
    }
  }
}

// Packs one step for a product over rows: part of a strip (kWidth columns) or of a panel (16). out[i] is
// column i of the row, or of two rows as a pair. The caller wants `words` words, of which `columns` exist;
// the others are zero. It may write up to kPart words past their end.
template <int kWidth, typename Word, typename T>
HWY_INLINE void pack_columns(const T* const* rows, int64_t columns, int words, Word* HWY_RESTRICT out) {
  constexpr int kGroups = (kWidth + kPart - 1) / kPart;
  constexpr bool kPairs = std::is_same_v<Word, uint32_t>;
  if (columns >= kGroups * kPart) {
    for (int i = 0; i < kGroups * kPart; i += kPart) {
      if constexpr (kPairs) {
        const hn::Rebind<uint16_t, DP> du16;
        const auto low = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(rows[0] + i));
        const auto high = hn::LoadU(du16, reinterpret_cast<const uint16_t*>(rows[1] + i));
        hn::StoreU(hn::Or(hn::PromoteTo(DU(), low), hn::ShiftLeft<16>(hn::PromoteTo(DU(), high))), DU(),
                   out + i);
      } else {
        hn::StoreU(load_part(rows[0] + i), DP(), out + i);
      }
    }
  } else {
    for (int i = 0; i < words; ++i) {
      const T first = i < columns ? rows[0][i] : T{};
      if constexpr (kPairs) {
        out[i] = pair_of(first, i < columns ? rows[1][i] : T{});
      } else {
        out[i] = to_f32(first);
      }
    }
  }
}

// Writes out [columns][kSteps], the transpose of words [kSteps][columns]. Both sizes are multiples of 8.
template <int kSteps, int kColumns>
HWY_INLINE void transpose_words(const uint32_t* words, uint32_t* HWY_RESTRICT out) {
  for (int d = 0; d < kSteps; d += kPart) {
    for (int c = 0; c < kColumns; c += kPart) {
      VU v[kPart];
      load_transposed([&](int i) { return words + (d + i) * kColumns + c; }, v);
      for (int j = 0; j < kPart; ++j) hn::StoreU(v[j], DU(), out + (c + j) * kSteps + d);
    }
  }
}

// Writes out [16 columns][16 rows], the transpose of 16 panel rows at `block`, as f32.
HWY_INLINE void transpose_block(const float* block, float* HWY_RESTRICT out) {
  for (int r = 0; r < 16; r += kPart) {
    for (int c = 0; c < 16; c += kPart) {
      VU v[kPart];
      load_transposed([&](int i) { return reinterpret_cast<const uint32_t*>(block + (r + i) * 16) + c; }, v);
      for (int j = 0; j < kPart; ++j) hn::StoreU(hn::BitCast(DP(), v[j]), DP(), out + (c + j) * 16 + r);
    }
  }
}

// Stores transposed words of a bf16 panel. Its words are pairs of rows; they become words [8 pairs of
// columns][16 rows], or f32 [16 columns][16 rows]. Two neighbouring words are the 2 x 2 values of two rows
// and two columns: 64 bits that move as one and are transposed by exchanging their middle halves.
HWY_INLINE void store_transposed(VU pairs, int row, int column, uint32_t* out) {
  hn::StoreU(pairs, DU(), out + column / 2 * 16 + row);
}
HWY_INLINE void store_transposed(VU pairs, int row, int column, float* out) {
  hn::StoreU(hn::BitCast(DP(), low_half(pairs)), DP(), out + column * 16 + row);
  hn::StoreU(hn::BitCast(DP(), high_half(pairs)), DP(), out + (column + 1) * 16 + row);
}

// Transposes every two neighbouring words as 2 x 2 values, by exchanging their middle halves.
template <class V, class D = hn::DFromV<V>>
HWY_INLINE V exchanged(V words) {
  const hn::Repartition<uint8_t, D> d8;
  alignas(16) static constexpr uint8_t kMiddle[16] = {0, 1, 4, 5, 2, 3, 6, 7, 8, 9, 12, 13, 10, 11, 14, 15};
  return BitCast(D(), TableLookupBytes(BitCast(d8, words), LoadDup128(d8, kMiddle)));
}

// Does what exchanged() does, for `count` words; count is a multiple of 16.
template <class D = hn::RebindToUnsigned<DF>>
HWY_INLINE void exchange_middle_halves(const uint32_t* words, int64_t count, uint32_t* HWY_RESTRICT out) {
  if constexpr (kLanes == 1) {
    for (int64_t i = 0; i < count; i += 2) {
      out[i] = (words[i] & 0xffffu) | words[i + 1] << 16;
      out[i + 1] = words[i] >> 16 | (words[i + 1] & 0xffff0000u);
    }
  } else {
    for (int64_t i = 0; i < count; i += kLanes)
      hn::StoreU(exchanged(hn::LoadU(D(), words + i)), D(), out + i);
  }
}

// Writes an even number of rows of a bf16 panel as f32.
HWY_INLINE void widen_rows(const bf16* rows, int64_t num_rows, float* HWY_RESTRICT out) {
  for (int64_t i = 0; i < num_rows * kPanelWidth; i += 2 * kPanelWidth) {
    for (int half = 0; half < 2; ++half) {
      for (int v = 0; v < kTileVectors; ++v)
        hn::Store(load_panel_row(rows + i, v, half), DF(), out + i + half * kPanelWidth + v * kLanes);
    }
  }
}

template <typename Word, class D = DU>
HWY_INLINE void transpose_block(const bf16* block, Word* HWY_RESTRICT out) {
  const D d;
  const uint32_t* words = reinterpret_cast<const uint32_t*>(block);
  // Word p * 16 + c has rows 2p and 2p + 1 of column c. A word of the result has two neighbouring columns of
  // one row.
  if constexpr (kPart == 1) {
    for (int p = 0; p < 8; ++p) {
      for (int c = 0; c < 16; c += 2) {
        const uint32_t left = words[p * 16 + c], right = words[p * 16 + c + 1];
        store_transposed(hn::Set(d, (left & 0xffffu) | (right << 16)), 2 * p, c, out);
        store_transposed(hn::Set(d, (left >> 16) | (right & 0xffff0000u)), 2 * p + 1, c, out);
      }
    }
  } else {
    const hn::Repartition<uint64_t, D> d64;
    for (int p = 0; p < 8; p += kPart / 2) {
      for (int c = 0; c < 16; c += 4) {
        const auto row = [&](int i) { return words + (p + i) * 16 + c; };
        VU even, odd;
        if constexpr (kPart == 8) {
          const hn::Half<D> half;
          even = Combine(d, LoadU(half, row(2)), LoadU(half, row(0)));
          odd = Combine(d, LoadU(half, row(3)), LoadU(half, row(1)));
        } else {
          even = hn::LoadU(d, row(0));
          odd = hn::LoadU(d, row(1));
        }
        const auto a = BitCast(d64, even), b = BitCast(d64, odd);
        store_transposed(exchanged(BitCast(d, InterleaveLower(d64, a, b))), 2 * p, c, out);
        store_transposed(exchanged(BitCast(d, InterleaveUpper(d64, a, b))), 2 * p, c + 2, out);
      }
    }
  }
}

// Transposes a block of which only `num_rows` panel rows are stored; the others count as zero.
template <typename T, typename Word>
HWY_NOINLINE void transpose_short_block(const T* block, int64_t num_rows, Word* out) {
  alignas(64) T padded[256] = {};
  std::copy(block, block + num_rows * 16, padded);
  transpose_block(padded, out);
}

// Writes one row of a tile, multiplied by `scale`, into a row of a weight panel.
HWY_INLINE void store_panel_row(const float* tile_row, float scale, float* out) {
  for (int c = 0; c < 16; c += kPart)
    hn::StoreU(hn::Mul(hn::Set(DP(), scale), hn::LoadU(DP(), tile_row + c)), DP(), out + c);
}

// Combines the lower halves of `low` and the upper halves of `high`.
template <class V>
HWY_INLINE V halves_of(V low, V high) {
  if constexpr (kPart == 1) {
    return hn::Or(hn::And(low, hn::Set(DU(), 0xffffu)), hn::And(high, hn::Set(DU(), 0xffff0000u)));
  } else {
    const hn::Repartition<uint16_t, hn::DFromV<V>> du16;
    return BitCast(hn::DFromV<V>(), OddEven(BitCast(du16, high), BitCast(du16, low)));
  }
}

// Stores two rows of a tile as pairs of a bf16 panel. With kStream the stores bypass the caches, as whole
// lines.
template <bool kStream>
HWY_INLINE void store_panel_pair(const float* even_row, const float* odd_row, float scale, bf16* out) {
  const DU du;
  const VP factor = hn::Set(DP(), scale);
  for (int c = 0; c < 16; c += kPart) {
    const auto even = round_bits(hn::Mul(factor, hn::LoadU(DP(), even_row + c)));
    const auto odd = round_bits(hn::Mul(factor, hn::LoadU(DP(), odd_row + c)));
    uint32_t* to = reinterpret_cast<uint32_t*>(out) + c;
    const auto pairs = halves_of(hn::ShiftRight<16>(even), odd);
    if constexpr (kStream) {
      hn::Stream(pairs, du, to);
    } else {
      hn::StoreU(pairs, du, to);
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
