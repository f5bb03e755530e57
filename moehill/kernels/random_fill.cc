// This file makes random tensors with the same bits on every SIMD target. The integers of the generator are
// exact. Logarithm, sine and cosine are made of additions, multiplications and a square root, and IEEE 754
// leaves only one way to round each of these. Highway's own functions fuse multiply and add on targets that
// can, so they differ in the last bit. CMakeLists.txt keeps the compiler from fusing multiply and add in this
// file.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/random_fill.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <algorithm>
#include <vector>

#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/random_fill.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// kBlocks blocks of the generator are made together, one in each lane of the widest vectors. Where vectors
// have no fixed width, kBlocks is the kPart of other files.
inline constexpr int kBlocks = HWY_HAVE_SCALABLE || HWY_LANES(float) < 16 ? kPart : 16;
using DF = hn::FixedTag<float, kBlocks>;
using VF = hn::Vec<DF>;
using DU = hn::RebindToUnsigned<DF>;
using DI = hn::RebindToSigned<DF>;
using VU = hn::Vec<DU>;

template <int kRotation>
HWY_INLINE void threefry_round(VU& x0, VU& x1) {
  x0 = hn::Add(x0, x1);
  x1 = hn::Xor(hn::RotateRight<32 - kRotation>(x1), x0);
}

// Does what threefry() of base/rng.h does, for kBlocks counters at once.
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

HWY_INLINE VF times_plus(VF a, VF b, float c) { return hn::Add(hn::Mul(a, b), hn::Set(DF(), c)); }

// Returns numbers uniform in (0, 1), as uniform_from_bits() of base/rng.h does.
HWY_INLINE VF uniform(VU bits) {
  const DF d;
  const VF value = hn::ConvertTo(d, hn::BitCast(DI(), hn::ShiftRight<9>(bits)));
  return hn::Mul(hn::Add(value, hn::Set(d, 0.5f)), hn::Set(d, 0x1p-23f));
}

// Returns the natural logarithm of a normal positive u. The polynomial is from logf in Cephes (Moshier), for
// 1 + x between sqrt(1/2) and sqrt(2). The relative error is below 2e-7.
HWY_INLINE VF logarithm(VF u) {
  const DF d;
  const DI di;
  // The exponent is counted from sqrt(1/2) on, so that x is small on both sides of a power of two.
  const auto bits = hn::Sub(hn::BitCast(di, u), hn::Set(di, 0x3f3504f3));
  const VF exponent = hn::ConvertTo(d, hn::ShiftRight<23>(bits));
  const auto mantissa = hn::And(bits, hn::Set(di, 0x007fffff));
  const VF one_plus_x = hn::BitCast(d, hn::Add(mantissa, hn::Set(di, 0x3f3504f3)));
  const VF x = hn::Sub(one_plus_x, hn::Set(d, 1.0f)), square = hn::Mul(x, x);
  // Coefficients are taken in pairs, because in a chain of nine each step would wait for the one before.
  const auto pair = [&](float high, float low) { return times_plus(hn::Set(d, high), x, low); };
  VF y = hn::Set(d, 7.0376836292e-2f);
  y = hn::Add(hn::Mul(y, square), pair(-1.1514610310e-1f, 1.1676998740e-1f));
  y = hn::Add(hn::Mul(y, square), pair(-1.2420140846e-1f, 1.4249322787e-1f));
  y = hn::Add(hn::Mul(y, square), pair(-1.6668057665e-1f, 2.0000714765e-1f));
  y = hn::Add(hn::Mul(y, square), pair(-2.4999993993e-1f, 3.3333331174e-1f));
  y = hn::Mul(hn::Mul(y, x), square);
  // ln 2 is split into two parts; the first part times any exponent is exact.
  y = hn::Add(y, hn::Mul(exponent, hn::Set(d, -2.12194440e-4f)));
  y = hn::Sub(y, hn::Mul(square, hn::Set(d, 0.5f)));
  return hn::Add(hn::Add(x, y), hn::Mul(exponent, hn::Set(d, 0.693359375f)));
}

// Computes cosine and sine of 2 pi uniform(bits). The integer gives the nearest multiple of a quarter turn
// without any rounding. The rest is at most an eighth of a turn; its polynomials are from sinf and cosf in
// Cephes. The absolute error is below 2e-7.
HWY_INLINE void cosine_sine(VU bits, VF& cosine, VF& sine) {
  const DF d;
  const DI di;
  const auto value = hn::BitCast(di, hn::ShiftRight<9>(bits));  // 2^21 is a quarter turn
  const auto quarters = hn::ShiftRight<21>(hn::Add(value, hn::Set(di, 1 << 20)));
  const VF rest = hn::Add(hn::ConvertTo(d, hn::Sub(value, hn::ShiftLeft<21>(quarters))), hn::Set(d, 0.5f));
  const VF x = hn::Mul(rest, hn::Set(d, 7.490140566e-7f));  // pi / 2^22
  const VF square = hn::Mul(x, x);
  VF s = times_plus(hn::Set(d, -1.9515295891e-4f), square, 8.3321608736e-3f);
  s = times_plus(s, square, -1.6666654611e-1f);
  s = hn::Add(hn::Mul(hn::Mul(s, square), x), x);
  VF c = times_plus(hn::Set(d, 2.443315711809948e-5f), square, -1.388731625493765e-3f);
  c = times_plus(c, square, 4.166664568298827e-2f);
  c = hn::Sub(hn::Mul(hn::Mul(c, square), square), hn::Mul(square, hn::Set(d, 0.5f)));
  c = hn::Add(c, hn::Set(d, 1.0f));
  // In the four quarters (cosine, sine) are (c, s), (-s, c), (-c, -s) and (s, -c). Bit 1 of the number of
  // quarters becomes the sign.
  const auto odd = hn::RebindMask(d, hn::Ne(hn::And(quarters, hn::Set(di, 1)), hn::Zero(di)));
  const auto sign = [&](int add) {
    const auto second = hn::And(hn::Add(quarters, hn::Set(di, add)), hn::Set(di, 2));
    return hn::BitCast(d, hn::ShiftLeft<30>(second));
  };
  cosine = hn::Xor(hn::IfThenElse(odd, s, c), sign(1));
  sine = hn::Xor(hn::IfThenElse(odd, c, s), sign(0));
}

// Fills pairs [first_block, first_block + num_blocks) by Box-Muller, two floats each.
void fill_pairs(uint32_t seed, uint32_t stream, uint64_t first_block, int64_t num_blocks, float deviation,
                float* out) {
  const DF d;
  const DU du;
  const uint32_t key[3] = {seed, stream, kThreefryParity ^ seed ^ stream};
  for (int64_t b = 0; b < num_blocks; b += kBlocks) {
    const uint64_t block = first_block + static_cast<uint64_t>(b);
    const VU low = hn::Set(du, static_cast<uint32_t>(block));
    VU x0 = hn::Add(low, hn::Iota(du, 0));
    // A lane whose low word has begun again at 0 has the next high word; its mask is -1.
    const VU carries = hn::VecFromMask(du, hn::Lt(x0, low));
    VU x1 = hn::Sub(hn::Set(du, static_cast<uint32_t>(block >> 32)), carries);
    threefry_vector(key, x0, x1);
    const VF square = hn::Mul(hn::Set(d, -2.0f), logarithm(uniform(x0)));
    const VF radius = hn::Mul(hn::Set(d, deviation), hn::Sqrt(square));
    VF cosine, sine;
    cosine_sine(x1, cosine, sine);
    const VF even = hn::Mul(radius, cosine), odd = hn::Mul(radius, sine);
    if (num_blocks - b >= kBlocks) {
      hn::StoreInterleaved2(even, odd, d, out + 2 * b);
    } else {
      float pairs[2 * kBlocks];
      hn::StoreInterleaved2(even, odd, d, pairs);
      std::copy(pairs, pairs + 2 * (num_blocks - b), out + 2 * b);
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
    // An odd first element is the second half of its pair, so the first half is made and skipped.
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
