// SwiGLU on vectors: silu(g) * u and its derivative. Include inside HWY_NAMESPACE, once a target.

#if defined(MOEHILL_SWIGLU_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_SWIGLU_INL_H
#undef MOEHILL_SWIGLU_INL_H
#else
#define MOEHILL_SWIGLU_INL_H
#endif

#include <hwy/contrib/math/math-inl.h>

#include "moehill/kernels/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// 1 / (1 + exp(-g)); 0 and 1 at the ends of the range. Exp is defined up to 104, where it is infinite.
HWY_INLINE VP sigmoid(VP g) {
  const DP d;
  const VP one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 104.0f)))));
}

HWY_INLINE VP swiglu(VP g, VP u) { return hn::Mul(hn::Mul(g, sigmoid(g)), u); }

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
