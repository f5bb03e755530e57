// Converts rows to and from the form in which they travel (wire_rows.h), on the best SIMD target. All steps
// are integer operations or exact products by powers of two, so every target gives the same bits.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/wire_rows.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <algorithm>
#include <cstring>

#include "moehill/base/error.h"
#include "moehill/kernels/convert-inl.h"
#include "moehill/kernels/wire_rows.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

using DI = hn::RebindToSigned<DP>;
using DBytes = hn::Rebind<uint8_t, DP>;

inline constexpr int32_t kAbs = 0x7fffffff, kLargestFinite = 0x7f7fffff, kQuietNan = 0x7fc00000;
inline constexpr int32_t kNanCode = 0x7f;
inline constexpr int kDroppedBits = 23 - 3;  // bits of an f32's mantissa that e4m3 does not have
inline constexpr int32_t kLeastNormal = (127 - 6) << 23;
// f32 adds 127 to an exponent, e4m3 adds 7. This is the difference, shifted to the position of the exponent
// in f32.
inline constexpr int32_t kBias = (127 - 7) << 23;
// The subnormal values of e4m3 are 2^-9 apart. Values of f32 from 2^14 on have the same distance, so adding
// 2^14 rounds to them.
inline constexpr float kStep = 0x1p-9f, kStepsLikeIt = 0x1p14f;

HWY_INLINE float power_of_two(int exponent) {
  const int32_t bits = (exponent + 127) << 23;
  float value;
  std::memcpy(&value, &bits, sizeof value);
  return value;
}

// Returns the exponent of a block's scale from the bits of its largest finite magnitude. The largest value of
// e4m3 is 448 = 1.75 * 2^8.
HWY_INLINE int scale_exponent(int32_t largest) {
  if (largest == 0) return 0;
  const int above = (largest & 0x7fffff) > 0x600000 ? 1 : 0;
  return std::max((largest >> 23) - 127 - 8 + above, kLeastWireScale);
}

// Rounds to e4m3 with integer arithmetic: normal values by adding half of the last bit, subnormal ones by
// adding 2^14. Values above the largest finite f32 become NaN.
HWY_INLINE hn::Vec<DI> codes_of(VP quotient) {
  const DI di;
  const auto bits = hn::BitCast(di, quotient), magnitude = hn::And(bits, hn::Set(di, kAbs));
  const auto odd = hn::And(hn::ShiftRight<kDroppedBits>(magnitude), hn::Set(di, 1));
  const auto half = hn::Set(di, (1 << (kDroppedBits - 1)) - 1 - kBias);
  const auto normal = hn::ShiftRight<kDroppedBits>(hn::Add(magnitude, hn::Add(odd, half)));
  const VP steps = hn::Set(DP(), kStepsLikeIt);
  const auto small =
      hn::Sub(hn::BitCast(di, hn::Add(hn::BitCast(DP(), magnitude), steps)), hn::BitCast(di, steps));
  auto code = hn::IfThenElse(hn::Lt(magnitude, hn::Set(di, kLeastNormal)), small, normal);
  code = hn::IfThenElse(hn::Gt(magnitude, hn::Set(di, kLargestFinite)), hn::Set(di, kNanCode), code);
  return hn::Or(code, hn::And(hn::ShiftRight<24>(bits), hn::Set(di, 0x80)));
}

HWY_INLINE VP values_of(hn::Vec<DI> codes, float scale) {
  const DI di;
  const auto magnitude = hn::And(codes, hn::Set(di, 0x7f));
  const VP normal = hn::BitCast(DP(), hn::Add(hn::ShiftLeft<kDroppedBits>(magnitude), hn::Set(di, kBias)));
  const VP small = hn::Mul(hn::ConvertTo(DP(), magnitude), hn::Set(DP(), kStep));
  const auto is_small = hn::RebindMask(DP(), hn::Lt(magnitude, hn::Set(di, 8)));
  const VP value = hn::Mul(hn::IfThenElse(is_small, small, normal), hn::Set(DP(), scale));
  const auto bits = hn::IfThenElse(hn::Eq(magnitude, hn::Set(di, kNanCode)), hn::Set(di, kQuietNan),
                                   hn::BitCast(di, value));
  return hn::BitCast(DP(), hn::Or(bits, hn::ShiftLeft<24>(hn::And(codes, hn::Set(di, 0x80)))));
}

// Encodes a block of n columns. It works on a copy that is filled up with zeros, so that it can use whole
// vectors.
template <typename T>
HWY_INLINE void encode_block(const T* in, int64_t n, uint8_t* codes, char* scale) {
  HWY_ALIGN T copy[kWireBlock] = {};
  HWY_ALIGN uint8_t bytes[kWireBlock];
  std::memcpy(copy, in, static_cast<size_t>(n) * sizeof(T));
  const DI di;
  auto largest = hn::Zero(di);
  for (int64_t i = 0; i < n; i += kPart) {
    const auto magnitude = hn::And(hn::BitCast(di, load_part(copy + i)), hn::Set(di, kAbs));
    const auto is_infinite = hn::Gt(magnitude, hn::Set(di, kLargestFinite));
    largest = hn::Max(largest, hn::IfThenZeroElse(is_infinite, magnitude));
  }
  const int exponent = scale_exponent(hn::GetLane(hn::MaxOfLanes(di, largest)));
  const VP inverse = hn::Set(DP(), power_of_two(-exponent));
  for (int64_t i = 0; i < n; i += kPart)
    hn::StoreU(hn::DemoteTo(DBytes(), codes_of(hn::Mul(load_part(copy + i), inverse))), DBytes(), bytes + i);
  std::memcpy(codes, bytes, static_cast<size_t>(n));
  const float factor = power_of_two(exponent);
  std::memcpy(scale, &factor, sizeof factor);
}

template <typename T>
HWY_INLINE void decode_block(const uint8_t* codes, const char* scale, int64_t n, T* out) {
  HWY_ALIGN uint8_t bytes[kWireBlock] = {};
  HWY_ALIGN T copy[kWireBlock];
  std::memcpy(bytes, codes, static_cast<size_t>(n));
  float factor;
  std::memcpy(&factor, scale, sizeof factor);
  for (int64_t i = 0; i < n; i += kPart)
    store_part(values_of(hn::PromoteTo(DI(), hn::LoadU(DBytes(), bytes + i)), factor), copy + i);
  std::memcpy(out, copy, static_cast<size_t>(n) * sizeof(T));
}

template <typename In, typename Out>
HWY_INLINE void convert_row(const In* in, Out* out, int64_t n) {
  int64_t i = 0;
  for (; i + kPart <= n; i += kPart) store_part(load_part(in + i), out + i);
  for (; i < n; ++i) out[i] = from_f32<Out>(to_f32(in[i]));
}

template <typename T>
void encode_row(Wire wire, const T* in, int64_t cols, char* out) {
  if (wire == Wire::bf16) return convert_row(in, reinterpret_cast<bf16*>(out), cols);
  char* scale = out + cols;
  for (int64_t c = 0; c < cols; c += kWireBlock, scale += sizeof(float))
    encode_block(in + c, std::min(kWireBlock, cols - c), reinterpret_cast<uint8_t*>(out) + c, scale);
}

template <typename T>
void decode_row(Wire wire, const char* in, int64_t cols, T* out) {
  if (wire == Wire::bf16) return convert_row(reinterpret_cast<const bf16*>(in), out, cols);
  const char* scale = in + cols;
  for (int64_t c = 0; c < cols; c += kWireBlock, scale += sizeof(float))
    decode_block(reinterpret_cast<const uint8_t*>(in) + c, scale, std::min(kWireBlock, cols - c), out + c);
}

void encode_range(Wire wire, const RowSource& source, Range rows, char* out) {
  const MatView& m = source.matrix;
  const int64_t bytes = wire_row_bytes(wire, m.cols, m.dtype);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    const int64_t from = source.index == nullptr ? r : source.index[r];
    m.dtype == DType::f32 ? encode_row(wire, m.row<const float>(from), m.cols, out + r * bytes)
                          : encode_row(wire, m.row<const bf16>(from), m.cols, out + r * bytes);
  }
}

void decode_range(Wire wire, const char* in, const MatView& out, Range rows) {
  const int64_t bytes = wire_row_bytes(wire, out.cols, out.dtype);
  for (int64_t r = rows.begin; r < rows.end; ++r) {
    out.dtype == DType::f32 ? decode_row(wire, in + r * bytes, out.cols, out.row<float>(r))
                            : decode_row(wire, in + r * bytes, out.cols, out.row<bf16>(r));
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
namespace moehill {
namespace {

HWY_EXPORT(encode_range);
HWY_EXPORT(decode_range);

// Calls work(range) for parts of the ranges, shared evenly by the threads. The team is started once for all
// ranges.
template <typename Work>
void for_rows(ThreadTeam& team, std::span<const Range> ranges, const Work& work) {
  int64_t total = 0;
  for (const Range& range : ranges) total += range.size();
  team.parallel_for(total, [&](int64_t begin, int64_t end) {
    for (const Range& range : ranges) {
      const Range part{range.begin + std::max<int64_t>(0, begin), range.begin + std::min(range.size(), end)};
      if (part.begin < part.end) work(part);
      begin -= range.size(), end -= range.size();
    }
  });
}

}  // namespace

void encode_rows(ThreadTeam& team, Wire wire, const RowSource& source, std::span<const Range> rows,
                 void* out) {
  MOEHILL_CHECK(wire != Wire::native && source.scale == 1, "rows as they are, or scaled by {}", source.scale);
  for_rows(team, rows, [&](Range part) {
    HWY_DYNAMIC_DISPATCH(encode_range)(wire, source, part, static_cast<char*>(out));
  });
}

void decode_rows(ThreadTeam& team, Wire wire, const void* in, std::span<const Range> rows,
                 const MatView& out) {
  MOEHILL_CHECK(wire != Wire::native, "{} is no form of its own", name_of(wire));
  for_rows(team, rows, [&](Range part) {
    HWY_DYNAMIC_DISPATCH(decode_range)(wire, static_cast<const char*>(in), out, part);
  });
}

}  // namespace moehill
#endif
