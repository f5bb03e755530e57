// This file loads and stores f32 and bf16 as vectors of f32 with kPart lanes, at most 8. Include it inside
// HWY_NAMESPACE, once for each target. Loops over a row then have the same text for both types:
//
//   for (int64_t i = 0; i + kPart <= n; i += kPart) store_part(load_part(in + i), out + i);

#if defined(MOEHILL_CONVERT_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_CONVERT_INL_H
#undef MOEHILL_CONVERT_INL_H
#else
#define MOEHILL_CONVERT_INL_H
#endif

#include <hwy/highway.h>

#include "moehill/tensor/dtype.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {
namespace hn = hwy::HWY_NAMESPACE;

inline constexpr int kPart = HWY_LANES(float) < 8 ? HWY_LANES(float) : 8;
using DP = hn::FixedTag<float, kPart>;
using VP = hn::Vec<DP>;

HWY_INLINE VP load_part(const float* p) { return hn::LoadU(DP(), p); }
HWY_INLINE VP load_part(const bf16* p) {
  const hn::RebindToUnsigned<DP> du;
  const hn::Rebind<uint16_t, DP> du16;
  const auto bits = hn::PromoteTo(du, hn::LoadU(du16, reinterpret_cast<const uint16_t*>(p)));
  return hn::BitCast(DP(), hn::ShiftLeft<16>(bits));
}

// Returns the bits of v after rounding to nearest even at bit 16. The lower 16 bits are garbage. A NaN stays
// a NaN.
template <class V>
HWY_INLINE auto round_bits(V v) {
  const hn::DFromV<V> d;
  const hn::RebindToUnsigned<decltype(d)> du;
  const auto bits = hn::BitCast(du, v);
  const auto odd = hn::And(hn::ShiftRight<16>(bits), hn::Set(du, 1u));
  const auto rounded = hn::Add(bits, hn::Add(odd, hn::Set(du, 0x7fffu)));
  const auto is_nan = hn::RebindMask(du, hn::Ne(v, v));
  return hn::IfThenElse(is_nan, hn::Or(bits, hn::Set(du, 0x400000u)), rounded);
}

HWY_INLINE void store_part(VP v, float* p) { hn::StoreU(v, DP(), p); }
HWY_INLINE void store_part(VP v, bf16* p) {
  const hn::RebindToSigned<DP> di;
  const hn::Rebind<uint16_t, DP> du16;
  // The value fits 16 bits and is positive as a 32-bit integer, so the saturating conversion does not change
  // it.
  const auto high = hn::BitCast(di, hn::ShiftRight<16>(round_bits(v)));
  hn::StoreU(hn::DemoteTo(du16, high), du16, reinterpret_cast<uint16_t*>(p));
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
