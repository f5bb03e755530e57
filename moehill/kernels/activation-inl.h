// Activations on vectors, forward and backward. Include inside HWY_NAMESPACE, once a target.
//
// An activation is a functor: f(g, u), and f.slopes(g, u). with_activation() is the one place that knows them
// all; epilogues and stages are loops over a functor.

#if defined(MOEHILL_ACTIVATION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_ACTIVATION_INL_H
#undef MOEHILL_ACTIVATION_INL_H
#else
#define MOEHILL_ACTIVATION_INL_H
#endif

#include <hwy/contrib/math/math-inl.h>

#include "moehill/kernels/activation.h"
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

// h and its derivatives by g and u.
struct Slopes {
  VP h, by_gate, by_up;
};

// silu(g) u.
struct Silu {
  HWY_INLINE VP operator()(VP g, VP u) const { return hn::Mul(hn::Mul(g, sigmoid(g)), u); }
  HWY_INLINE Slopes slopes(VP g, VP u) const {
    const VP one = hn::Set(DP(), 1.0f), s = sigmoid(g), silu = hn::Mul(g, s);
    const VP slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    return {hn::Mul(silu, u), hn::Mul(u, slope), silu};
  }
};

// Returns body(functor).
template <class Body>
HWY_INLINE auto with_activation(Activation activation, const Body& body) {
  switch (activation) {
    case Activation::silu:
      return body(Silu());
    default:
      no_kernel_for(activation);
  }
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
