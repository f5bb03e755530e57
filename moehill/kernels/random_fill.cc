// Random tensors on the best SIMD target. The generator's integers are exact everywhere; logarithm and sine
// come from Highway and may differ in the last bit between targets.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/random_fill.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// After foreach_target:
#include <hwy/contrib/math/math-inl.h>

#include <algorithm>
#include <vector>

#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/random_fill.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

using DU = hn::RebindToUnsigned<DP>;
using VU = hn::Vec<DU>;

template <int kRotation>
HWY_INLINE void threefry_round(VU& x0, VU& x1) {
  x0 = hn::Add(x0, x1);
  x1 = hn::Xor(hn::Or(hn::ShiftLeft<kRotation>(x1), hn::ShiftRight<32 - kRotation>(x1)), x0);
}

// base/rng.h's threefry() for kPart counters.
HWY_INLINE void threefry_vector(const uint32_t* key, VU& x0, VU& x1) {
  const DU d;
  x0 = hn::Add(x0, hn::Set(d, key[0]));
  x1 = hn::Add(x1, hn::Set(d, key[1]));
  for (uint32_t group = 0; group < 5; ++group) {
    if (group % 2 == 0) {
      threefry_round<kThreefryRotations[0]>(x0, x1);
      threefry_round<kThreefryRotations[1]>(x0, x1);
      threefry_round<kThreefryRotations[2]>(x0, x1);
      threefry_round<kThreefryRotations[3]>(x0, x1);
    } else {
      threefry_round<kThreefryRotations[4]>(x0, x1);
      threefry_round<kThreefryRotations[5]>(x0, x1);
      threefry_round<kThreefryRotations[6]>(x0, x1);
      threefry_round<kThreefryRotations[7]>(x0, x1);
    }
    const uint32_t injection = group + 1;
    x0 = hn::Add(x0, hn::Set(d, key[injection % 3]));
    x1 = hn::Add(x1, hn::Set(d, key[(injection + 1) % 3] + injection));
  }
}

HWY_INLINE VP uniform(VU bits) {
  const DP d;
  const hn::RebindToSigned<DP> di;
  const VP value = hn::ConvertTo(d, hn::BitCast(di, hn::ShiftRight<9>(bits)));
  return hn::Mul(hn::Add(value, hn::Set(d, 0.5f)), hn::Set(d, 0x1p-23f));
}

// Pairs [first_block, first_block + num_blocks), two floats each.
void fill_pairs(uint32_t seed, uint32_t stream, uint64_t first_block, int64_t num_blocks, float deviation,
                float* out) {
  const DP d;
  const DU du;
  const uint32_t key[3] = {seed, stream, kThreefryParity ^ seed ^ stream};
  alignas(64) float pair[2][kPart];
  for (int64_t b = 0; b < num_blocks; b += kPart) {
    const uint64_t block = first_block + static_cast<uint64_t>(b);
    alignas(64) uint32_t low[kPart], high[kPart];
    for (uint64_t i = 0; i < kPart; ++i) {
      low[i] = static_cast<uint32_t>(block + i);
      high[i] = static_cast<uint32_t>((block + i) >> 32);
    }
    VU x0 = hn::Load(du, low), x1 = hn::Load(du, high);
    threefry_vector(key, x0, x1);
    const VP radius =
        hn::Mul(hn::Set(d, deviation), hn::Sqrt(hn::Mul(hn::Set(d, -2.0f), hn::Log(d, uniform(x0)))));
    const VP angle = hn::Mul(hn::Set(d, 6.283185307179586f), uniform(x1));
    hn::Store(hn::Mul(radius, hn::Cos(d, angle)), d, pair[0]);
    hn::Store(hn::Mul(radius, hn::Sin(d, angle)), d, pair[1]);
    const int64_t count = std::min<int64_t>(kPart, num_blocks - b);
    for (int64_t i = 0; i < count; ++i) {
      out[2 * (b + i)] = pair[0][i];
      out[2 * (b + i) + 1] = pair[1][i];
    }
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moehill {

HWY_EXPORT(fill_pairs);

namespace {

constexpr int64_t kPiece = 4096;  // elements made at a time, even

template <typename T>
void write_row(const float* values, const LogicalWeights& w, int64_t group, int64_t row) {
  T* data = static_cast<T*>(w.stack.data);
  for (int64_t n = 0; n < w.num_columns; ++n)
    data[w.stack.index(group, row, w.column(n))] = from_f32<T>(values[n]);
}

}  // namespace

void random_row(uint32_t seed, Stream stream, uint64_t first, int64_t n, float deviation, float* out) {
  alignas(64) float piece[kPiece];
  for (int64_t done = 0; done < n;) {
    const uint64_t at = first + static_cast<uint64_t>(done);
    const int64_t skip = static_cast<int64_t>(at % 2);
    const int64_t count = std::min(n - done, kPiece - skip);
    HWY_DYNAMIC_DISPATCH(fill_pairs)
    (seed, static_cast<uint32_t>(stream), at / 2, (skip + count + 1) / 2, deviation, piece);
    std::copy(piece + skip, piece + skip + count, out + done);
    done += count;
  }
}

void fill_normal(ThreadTeam& team, uint32_t seed, Stream stream, float deviation, const MatView& m,
                 int64_t first_row) {
  team.parallel_for(m.rows, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(m.cols));
    for (int64_t r = begin; r < end; ++r) {
      random_row(seed, stream, static_cast<uint64_t>((first_row + r) * m.cols), m.cols, deviation,
                 row.data());
      for (int64_t c = 0; c < m.cols; ++c) m.set(r, c, row[static_cast<size_t>(c)]);
    }
  });
}

void fill_normal(ThreadTeam& team, uint32_t seed, Stream stream, float deviation, const LogicalWeights& w,
                 int64_t first_group) {
  const int64_t rows = w.rows(), columns = w.num_columns;
  team.parallel_for(w.stack.num_groups * rows, [&](int64_t begin, int64_t end) {
    std::vector<float> row(static_cast<size_t>(columns));
    for (int64_t i = begin; i < end; ++i) {
      const uint64_t first = static_cast<uint64_t>((first_group * rows + i) * columns);
      random_row(seed, stream, first, columns, deviation, row.data());
      if (w.stack.dtype == DType::f32) {
        write_row<float>(row.data(), w, i / rows, i % rows);
      } else {
        write_row<bf16>(row.data(), w, i / rows, i % rows);
      }
    }
  });
}

}  // namespace moehill
#endif
