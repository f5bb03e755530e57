// This file has the activations on vectors, forward and backward. Include it inside HWY_NAMESPACE, once for
// each target. Callers outside of kernels use activation.h.
//
// An activation is a functor that is made from its constants: f(g, u) gives h, and f.slopes(g, u) gives h
// with its derivatives. An activation without a gate ignores u. with_activation() is the only place that
// knows all of them; epilogues and stages are loops over a functor:
//
//   with_activation(activation, [&](const auto& f) { h = f(gate, up); });

#if defined(MOEHILL_ACTIVATION_INL_H) == defined(HWY_TARGET_TOGGLE)
#ifdef MOEHILL_ACTIVATION_INL_H
#undef MOEHILL_ACTIVATION_INL_H
#else
#define MOEHILL_ACTIVATION_INL_H
#endif

#include <hwy/contrib/math/math-inl.h>

#include <cmath>

#include "moehill/kernels/activation.h"
#include "moehill/kernels/convert-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

// Returns 1 / (1 + exp(-g)). It is exactly 0 and 1 at the ends of the range. The argument of Exp is at most
// 104, where the result is already infinite; beyond that Highway's Exp is not defined.
HWY_INLINE VP sigmoid(VP g) {
  const DP d;
  const VP one = hn::Set(d, 1.0f);
  return hn::Div(one, hn::Add(one, hn::Exp(d, hn::Min(hn::Neg(g), hn::Set(d, 104.0f)))));
}

// Logistic is s = 1 / (1 + e) with e = exp(-g), and rest = 1 - s, computed as e s so that no digits cancel.
// The argument of Exp is at most 87, so that e stays finite: infinity times s = 0 would be a NaN.
struct Logistic {
  VP s, rest;
  explicit HWY_INLINE Logistic(VP g) {
    const VP one = hn::Set(DP(), 1.0f);
    const VP e = hn::Exp(DP(), hn::Min(hn::Neg(g), hn::Set(DP(), 87.0f)));
    s = hn::Div(one, hn::Add(one, e));
    rest = hn::Mul(e, s);
  }
};

// Slopes are h and its derivatives by g (the gate) and by u (the up value).
struct Slopes {
  VP h, by_gate, by_up;
};

// h = silu(g) u = g sigmoid(g) u.
struct Silu {
  static constexpr bool kGated = true;
  explicit HWY_INLINE Silu(const Activation&) {}
  HWY_INLINE VP operator()(VP g, VP u) const { return hn::Mul(hn::Mul(g, sigmoid(g)), u); }
  HWY_INLINE Slopes slopes(VP g, VP u) const {
    const VP one = hn::Set(DP(), 1.0f), s = sigmoid(g), silu = hn::Mul(g, s);
    const VP slope = hn::Mul(s, hn::MulAdd(g, hn::Sub(one, s), one));
    return {hn::Mul(silu, u), hn::Mul(u, slope), silu};
  }
};

// h = g sigmoid(alpha g) (u + shift), after g is limited to at most `limit` and u to [-limit, limit]. The
// order of the operands keeps a NaN a NaN: Min and Max of x86 return their second operand if one of them is a
// NaN.
struct ClampedSwish {
  static constexpr bool kGated = true;
  explicit HWY_INLINE ClampedSwish(const Activation& a)
      : limit(hn::Set(DP(), a.limit > 0 ? static_cast<float>(a.limit) : HUGE_VALF)),
        alpha(hn::Set(DP(), a.function == ActivationFunction::silu ? 1.0f : static_cast<float>(a.alpha))),
        shift(hn::Set(DP(), a.function == ActivationFunction::silu ? 0.0f : 1.0f)) {}
  HWY_INLINE VP gate(VP g) const { return hn::Min(limit, g); }
  HWY_INLINE VP up(VP u) const { return hn::Add(hn::Max(hn::Neg(limit), hn::Min(limit, u)), shift); }
  HWY_INLINE VP operator()(VP g, VP u) const {
    const VP x = gate(g);
    return hn::Mul(hn::Mul(x, sigmoid(hn::Mul(alpha, x))), up(u));
  }
  HWY_INLINE Slopes slopes(VP g, VP u) const {
    const VP one = hn::Set(DP(), 1.0f), x = gate(g), y = up(u), s = sigmoid(hn::Mul(alpha, x));
    const VP swish = hn::Mul(x, s);
    const VP slope = hn::MulAdd(hn::Mul(hn::Mul(s, hn::Sub(one, s)), alpha), x, s);
    return {hn::Mul(swish, y), hn::IfThenElseZero(hn::Le(g, limit), hn::Mul(y, slope)),
            hn::IfThenElseZero(hn::Le(hn::Abs(u), limit), swish)};
  }
  VP limit, alpha, shift;
};

// h = gelu(g) u, where gelu is its approximation by tanh, written as g sigmoid(k (g + c g^3)). Beyond g^2 =
// 10^4 the sigmoid is 0 or 1, so g^2 is cut there and cannot overflow.
struct GeluTanh {
  static constexpr bool kGated = true;
  explicit HWY_INLINE GeluTanh(const Activation&) {}
  static constexpr float kK = 1.5957691216057308f, kKc = 0.071354816272600249f;  // sqrt(8/pi), times 0.044715
  HWY_INLINE VP square(VP g) const { return hn::Min(hn::Set(DP(), 1e4f), hn::Mul(g, g)); }
  HWY_INLINE VP logistic(VP g) const {
    return sigmoid(hn::Mul(g, hn::MulAdd(square(g), hn::Set(DP(), kKc), hn::Set(DP(), kK))));
  }
  HWY_INLINE VP operator()(VP g, VP u) const { return hn::Mul(hn::Mul(g, logistic(g)), u); }
  HWY_INLINE Slopes slopes(VP g, VP u) const {
    const VP s = logistic(g), gelu = hn::Mul(g, s);
    const VP inner = hn::MulAdd(square(g), hn::Set(DP(), 3 * kKc), hn::Set(DP(), kK));
    const VP slope = hn::MulAdd(hn::Mul(hn::Mul(s, hn::Sub(hn::Set(DP(), 1.0f), s)), inner), g, s);
    return {hn::Mul(gelu, u), hn::Mul(u, slope), gelu};
  }
};

// h = max(g, 0)^2 u, or without u if the activation has no gate.
template <bool kWithUp>
struct Relu2 {
  static constexpr bool kGated = kWithUp;
  explicit HWY_INLINE Relu2(const Activation&) {}
  HWY_INLINE VP operator()(VP g, VP u) const {
    const VP r = hn::Max(hn::Zero(DP()), g), square = hn::Mul(r, r);
    return kWithUp ? hn::Mul(square, u) : square;
  }
  HWY_INLINE Slopes slopes(VP g, VP u) const {
    const VP r = hn::Max(hn::Zero(DP()), g), square = hn::Mul(r, r), twice = hn::Add(r, r);
    return kWithUp ? Slopes{hn::Mul(square, u), hn::Mul(u, twice), square} : Slopes{square, twice, square};
  }
};

// h = beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta).
struct Situ {
  static constexpr bool kGated = true;
  // Saturation is beta tanh(x / beta). Its derivative 1 - tanh^2 is computed as 4 q / (1 + q)^2 with q =
  // exp(-2 |x| / beta), so that a small derivative loses no digits.
  struct Saturation {
    explicit HWY_INLINE Saturation(double b)
        : beta(hn::Set(DP(), static_cast<float>(b))), inverse(hn::Set(DP(), static_cast<float>(1 / b))) {}
    HWY_INLINE VP value(VP x) const { return hn::Mul(beta, hn::Tanh(DP(), hn::Mul(x, inverse))); }
    HWY_INLINE VP slope(VP x) const {
      const VP one = hn::Set(DP(), 1.0f);
      const VP away = hn::Min(hn::Mul(hn::Abs(x), hn::Add(inverse, inverse)), hn::Set(DP(), 87.0f));
      const VP q = hn::Exp(DP(), hn::Neg(away)), sum = hn::Add(one, q);
      return hn::Div(hn::Mul(hn::Set(DP(), 4.0f), q), hn::Mul(sum, sum));
    }
    VP beta, inverse;
  };
  explicit HWY_INLINE Situ(const Activation& a) : gate(a.beta), up(a.linear_beta) {}
  HWY_INLINE VP operator()(VP g, VP u) const {
    return hn::Mul(hn::Mul(gate.value(g), sigmoid(g)), up.value(u));
  }
  HWY_INLINE Slopes slopes(VP g, VP u) const {
    const Logistic of_gate(g);
    const VP value = gate.value(g), b = up.value(u), a = hn::Mul(value, of_gate.s);
    const VP slope = hn::Mul(of_gate.s, hn::MulAdd(value, of_gate.rest, gate.slope(g)));
    return {hn::Mul(a, b), hn::Mul(b, slope), hn::Mul(a, up.slope(u))};
  }
  Saturation gate, up;
};

// Calls body(functor) with the functor of this activation and returns its result.
template <class Body>
HWY_INLINE auto with_activation(const Activation& a, const Body& body) {
  switch (a.function) {
    case ActivationFunction::silu:
      if (a.limit > 0) return body(ClampedSwish(a));
      return body(Silu(a));
    case ActivationFunction::swiglu_oai:
      return body(ClampedSwish(a));
    case ActivationFunction::gelu_tanh:
      return body(GeluTanh(a));
    case ActivationFunction::relu2:
      if (!a.gated) return body(Relu2<false>(a));
      return body(Relu2<true>(a));
    case ActivationFunction::situ:
      break;
  }
  return body(Situ(a));
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();
#endif
