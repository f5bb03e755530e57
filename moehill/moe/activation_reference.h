// This header has the activation and its derivatives for the oracle and the audit: slow, in float or double,
// and without code of the kernels. Every activation is a product h = a(g) b(u); kernels/activation.h has the
// formulas.
//
//   const Factor<double> a = gate_factor(activation, g), b = up_factor(activation, u);
//   const double h = a.value * b.value, dh_dg = a.first * b.value;
#pragma once

#include <algorithm>
#include <cmath>

#include "moehill/kernels/activation.h"

namespace moehill {

// A factor of h at one place, with its first and second derivatives.
template <typename F>
struct Factor {
  F value, first, second;
};

// Returns d s / d z of the logistic function s(z) = 1 / (1 + e^-z). The formula s (1 - s) would lose digits
// near s = 1; this one does not.
template <typename F>
F logistic_slope(F z) {
  const F e = std::exp(-std::abs(z));
  return e / ((1 + e) * (1 + e));
}

// Returns beta tanh(x / beta). Its slope comes from the logistic function, since 1 - tanh^2 would lose
// digits.
template <typename F>
Factor<F> saturation(F beta, F x) {
  const F t = std::tanh(x / beta), slope = 4 * logistic_slope(2 * x / beta);
  return {beta * t, slope, -2 * t * slope / beta};
}

// Returns g s(z) with the logistic s, where z is a function of g with the derivatives dz and ddz.
template <typename F>
Factor<F> logistic_product(F g, F z, F dz, F ddz) {
  const F s = 1 / (1 + std::exp(-z)), slope = logistic_slope(z);
  return {g * s, s + g * slope * dz, slope * (2 * dz + g * ((1 - 2 * s) * dz * dz + ddz))};
}

// Returns a(g), without a limit.
template <typename F>
Factor<F> unclamped_gate_factor(const Activation& activation, F g) {
  switch (activation.function) {
    case ActivationFunction::silu:
      return logistic_product<F>(g, g, 1, 0);
    case ActivationFunction::swiglu_oai: {
      const F alpha = static_cast<F>(activation.alpha);
      return logistic_product<F>(g, alpha * g, alpha, 0);
    }
    case ActivationFunction::gelu_tanh: {
      const F k = static_cast<F>(1.5957691216057308);  // sqrt(8 / pi)
      const F c = static_cast<F>(0.044715);
      return logistic_product<F>(g, k * (g + c * g * g * g), k * (1 + 3 * c * g * g), k * 6 * c * g);
    }
    case ActivationFunction::relu2:
      return g > 0 ? Factor<F>{g * g, 2 * g, 2} : Factor<F>{0, 0, 0};
    case ActivationFunction::situ: {
      const Factor<F> t = saturation(static_cast<F>(activation.beta), g);
      const F s = 1 / (1 + std::exp(-g)), slope = logistic_slope(g);
      return {t.value * s, t.first * s + t.value * slope,
              t.second * s + 2 * t.first * slope + t.value * slope * (1 - 2 * s)};
    }
  }
  return {};
}

// These two functions return a(g) and b(u) with their limits.
template <typename F>
Factor<F> gate_factor(const Activation& activation, F g) {
  const F limit = static_cast<F>(activation.limit);
  if (limit == 0 || g <= limit) return unclamped_gate_factor(activation, g);
  return {unclamped_gate_factor(activation, limit).value, 0, 0};
}

template <typename F>
Factor<F> up_factor(const Activation& activation, F u) {
  if (!activation.gated) return {1, 0, 0};
  if (activation.function == ActivationFunction::situ)
    return saturation(static_cast<F>(activation.linear_beta), u);
  const F limit = static_cast<F>(activation.limit);
  const bool inside = limit == 0 || std::abs(u) <= limit;
  const F clamped = inside ? u : std::copysign(limit, u);
  return {activation.function == ActivationFunction::swiglu_oai ? clamped + 1 : clamped,
          static_cast<F>(inside), 0};
}

// A factor whose argument may be wrong by up to `reach`. Such an error may carry the argument over a place
// where a derivative jumps.
template <typename F>
struct NearFactor : Factor<F> {
  F slope;     // the first derivative; near a jump the larger one
  F jump = 0;  // how far the first derivative may be off by the jump alone
};

template <typename F>
NearFactor<F> near_gate_factor(const Activation& activation, F g, F reach) {
  NearFactor<F> f{gate_factor(activation, g), 0, 0};
  if (activation.function == ActivationFunction::relu2 && g + reach > 0) f.second = 2;
  const F limit = static_cast<F>(activation.limit);
  f.slope = f.first;
  if (limit == 0 || std::abs(g - limit) > reach) return f;
  f.jump = f.slope = gate_factor(activation, limit).first;
  return f;
}

template <typename F>
NearFactor<F> near_up_factor(const Activation& activation, F u, F reach) {
  NearFactor<F> f{up_factor(activation, u), 0, 0};
  const F limit = static_cast<F>(activation.limit);
  f.slope = f.first;
  if (limit != 0 && std::abs(std::abs(u) - limit) <= reach) f.jump = f.slope = 1;
  return f;
}

// True if some derivative of the activation jumps somewhere.
inline bool has_jumps(const Activation& activation) {
  return activation.limit != 0 || activation.function == ActivationFunction::relu2;
}

}  // namespace moehill
