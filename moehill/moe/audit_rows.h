// This header has the element-by-element part of the audit: activate_row() applies the activation and its
// derivatives to the products of one row of an expert, and computes the variance of each value. It makes no
// products; StripAuditor (moe/audit_strip.h) does. F is float, or double if every element is compared by
// itself.
//
//   activate_row</*kBackward=*/true>(mode, units, weights, a, rows);   // rows.h, rows.dgate, rows.dup, ...
#pragma once

#include <cmath>
#include <limits>

#include "moehill/moe/activation_reference.h"
#include "moehill/moe/projection.h"

namespace moehill {

// ErrorUnits are squares of unit round-offs. Variances of type F are in units of `store`, so they are in the
// range of F if the squares of the values are.
struct ErrorUnits {
  double store;  // u^2, where u is the unit round-off of the storage type
  double sum;    // a sum of n products in f32 has the variance sum * n * |a|^2 |b|^2 / n
  // The audit compares two sums, the block's and the reference's, and each has v^2. The 4 is twice these two,
  // because sums may be made in another order.
  explicit ErrorUnits(DType dtype) : store(dtype == DType::f32 ? 0x1p-48 : 0x1p-18), sum(4 * 0x1p-48) {}

  // Returns the variance of a sum of n terms, in units of `store`.
  double sums(double n) const { return sum * n / store; }
};

// This is the least variance of a value, since the square of a small value would leave the range of F. It is
// negligible, because rows are scaled to values of size 1.
template <typename F>
inline constexpr F kLeastVariance = std::numeric_limits<F>::min();

// AuditWeights are the weights of one expert (or the shared one), with their projections and norms.
template <typename F>
struct AuditWeights {
  Dense<F> w1, w3;                     // [H, M]
  Dense<F> w2;                         // [M, H]
  Projected<F> w1_blocks, w3_blocks;   // [blocks of H, M]
  Projected<F> w2_blocks;              // [M, blocks of H]
  std::vector<F> norm1, norm3, norm2;  // [M] squared norms of the columns of W1 and W3 and the rows of W2
  std::vector<F> bias1, bias3;         // [M], or empty
};

// AuditAssignments are the rows of one expert. A row's part of a weight gradient is proportional to its gate
// value and to the size of its token's dy. Both may be so small that their squares leave the range of F, so
// they are kept apart from the rows. `share` is their product divided by `unit`, the largest such product of
// the expert.
struct AuditAssignments {
  std::vector<int64_t> token;
  std::vector<int> choice;
  std::vector<double> gate;     // multiplies the output
  std::vector<double> in;       // multiplies the input
  std::vector<double> dy_size;  // the size of the token's dy, rounded to a power of two
  // The largest relative variance of a gate value, if the block computes gate values itself.
  double gate_variance = 0;
  std::vector<double> share;
  double unit = 1;

  int64_t size() const { return static_cast<int64_t>(token.size()); }
};

// AuditRows are the values of a chunk of an expert's rows, [rows, ...]. The gradients are for dy = y divided
// by dy_size, without the gate value. A member x_var is the variance of x.
template <typename F>
struct AuditRows {
  Dense<F> x, dy;                  // [rows, H]
  std::vector<F> x_norm, dy_norm;  // [rows] squared norms
  Dense<F> gate, up;               // [rows, M]: x W1, x W3
  Dense<F> h, h_var;
  Dense<F> dh;  // dy W2^T
  Dense<F> dgate, dgate_var, dup, dup_var;
  std::vector<F> share, in;        // [rows]
  std::vector<double> dp, dp_var;  // [rows]; the variance without the rounding of the expert's output

  void reshape(int64_t rows, int64_t hidden, int64_t width, bool backward) {
    for (Dense<F>* m : {&gate, &up, &h, &h_var}) m->reshape(rows, width);
    x.reshape(rows, hidden);
    for (std::vector<F>* v : {&x_norm, &dy_norm, &share, &in}) v->resize(static_cast<size_t>(rows));
    if (!backward) return;
    dy.reshape(rows, hidden);
    for (Dense<F>* m : {&dh, &dgate, &dgate_var, &dup, &dup_var}) m->reshape(rows, width);
    dp.resize(static_cast<size_t>(rows));
    dp_var.resize(static_cast<size_t>(rows));
  }
};

// InputGradient is one element of the gradient of g or u, as a part of dp = <dx, x>, where dx is the gradient
// of the scaled row p x. Its error comes from several factors.
template <typename F>
struct InputGradient {
  F value;
  F by_dh, by_own;  // by how much it changes with dh, and with its own second derivative
  F second, jump;   // second derivative and jump of its own factor of h
  F product;        // the product of x with the column of the weights
  F norm;           // squared norm of that column
};

// ProductErrors computes the variance of such a part, in units of `store`, for a p whose square is p_square.
// It is in double, because a tiny p makes squares that leave the range of float.
struct ProductErrors {
  double p_square, sum, store;  // sum: variance of a product with a column of norm 1, in units of `store`

  template <typename F>
  double of_product(const InputGradient<F>& d) const {
    return p_square * (sum * d.norm + square(d.product));
  }
  template <typename F>
  double of_dot(const InputGradient<F>& d, const InputGradient<F>& other, F across, F dh_var) const {
    const double variance = square(d.by_dh) * dh_var + square(across) * of_product(other) +
                            square(d.by_own) * (square(d.second) * of_product(d) + square(d.jump) / store) +
                            square(d.value);
    return variance * square(d.product) + sum * d.norm * square(d.value);
  }
  template <typename F>
  static double square(F value) {
    return static_cast<double>(value) * static_cast<double>(value);
  }
};

// RowMode has the settings of activate_row().
struct RowMode {
  const Activation& activation;
  bool of_inputs;  // dp belongs to a factor of the input
};

// Computes h of row a and its variance from gate and up. With kBackward it also computes dp, dgate and dup
// from dh, with their variances.
template <bool kBackward, typename F>
void activate_row(const RowMode& mode, const ErrorUnits& units, const AuditWeights<F>& w, int64_t a,
                  AuditRows<F>& rows) {
  const size_t at = static_cast<size_t>(a);
  const F store = static_cast<F>(units.store), sum = static_cast<F>(units.sums(1));
  const F function = 1 + 16 * static_cast<F>(0x1p-48) / store;
  const Activation& activation = mode.activation;
  const F in = rows.in[at], x_sum = sum * in * in * rows.x_norm[at];
  // dy is rounded too. One error of dy enters the products with all rows of W2, so it counts 4 instead of 1.
  const F dy_sum = kBackward ? (sum + 4 / static_cast<F>(rows.dy.cols)) * rows.dy_norm[at] : F{0};
  // The terms of dh may agree in sign, since dy = y contains a part along each row of W2. Then all partial
  // sums may be as large as dh, and each term adds a rounding of that size.
  const F dh_own = kBackward ? F{1} + sum * static_cast<F>(rows.dy.cols) : F{0};
  const bool gated = activation.gated, jumps = has_jumps(activation);
  const F rounding = std::sqrt(store);
  // A product may be wrong by its rounding, which is at most twice the typical rounding, and by the error of
  // its sum.
  const auto reach = [&](F value, F sum_variance) {
    return jumps ? rounding * (2 * std::abs(value) + 8 * std::sqrt(sum_variance)) : F{0};
  };
  const F *gate = rows.gate.row(a), *up = rows.up.row(a), *dh_row = kBackward ? rows.dh.row(a) : nullptr;
  F *h = rows.h.row(a), *h_var = rows.h_var.row(a);
  double dp = 0, dp_var = 0;
  for (int64_t m = 0; m < rows.h.cols; ++m) {
    const size_t i = static_cast<size_t>(m);
    const F g = in * gate[m] + (w.bias1.empty() ? F{0} : w.bias1[i]);
    const F u = gated ? in * up[m] + (w.bias3.empty() ? F{0} : w.bias3[i]) : F{0};
    const F gate_sum = x_sum * w.norm1[i], up_sum = gated ? x_sum * w.norm3[i] : F{0};
    // The slope near a limit is uncertain if the error of g or u can carry it over the limit; `reach` is that
    // error.
    const NearFactor<F> by_gate = near_gate_factor(activation, g, reach(g, gate_sum));
    const NearFactor<F> by_up = near_up_factor(activation, u, reach(u, up_sum));
    const F gate_var = gate_sum + g * g, up_var = up_sum + u * u;
    const F slope = by_up.value * by_gate.slope, up_slope = by_gate.value * by_up.slope;  // of h
    h[m] = by_gate.value * by_up.value;
    h_var[m] =
        slope * slope * gate_var + up_slope * up_slope * up_var + function * h[m] * h[m] + kLeastVariance<F>;
    if constexpr (kBackward) {
      const F dh = dh_row[m], dh_var = dy_sum * w.norm2[i] + dh_own * dh * dh;
      if (!mode.of_inputs) {
        dp += static_cast<double>(h[m]) * dh;
        dp_var += ProductErrors::square(dh) * h_var[m] + ProductErrors::square(h[m]) * dh_var;
      }
      // The error of u changes dgate through the mixed slope `across`, and so does the error of g with dup.
      const F across = dh * by_gate.slope * by_up.slope;
      const F by_value = dh * by_up.value, by_gate_value = dh * by_gate.value;
      const F dgate = by_value * by_gate.first, dup = by_gate_value * by_up.first;
      rows.dgate.row(a)[m] = dgate;
      rows.dup.row(a)[m] = dup;
      rows.dgate_var.row(a)[m] =
          slope * slope * dh_var + across * across * up_var +
          by_value * by_value *
              (by_gate.second * by_gate.second * gate_var + by_gate.jump * by_gate.jump / store) +
          dgate * dgate + kLeastVariance<F>;
      rows.dup_var.row(a)[m] = up_slope * up_slope * dh_var + across * across * gate_var +
                               by_gate_value * by_gate_value *
                                   (by_up.second * by_up.second * up_var + by_up.jump * by_up.jump / store) +
                               dup * dup + kLeastVariance<F>;
      if (mode.of_inputs) {
        const InputGradient<F> of_gate{dgate,        slope,   by_value,  by_gate.second,
                                       by_gate.jump, gate[m], w.norm1[i]};
        const F x_u = gated ? up[m] : F{0}, norm3 = gated ? w.norm3[i] : F{0};
        const InputGradient<F> of_up{dup, up_slope, by_gate_value, by_up.second, by_up.jump, x_u, norm3};
        const ProductErrors errors{static_cast<double>(in) * in, sum * rows.x_norm[at], store};
        dp += static_cast<double>(dgate) * gate[m] + static_cast<double>(dup) * x_u;
        dp_var +=
            errors.of_dot(of_gate, of_up, across, dh_var) + errors.of_dot(of_up, of_gate, across, dh_var);
      }
    }
  }
  if (!kBackward) return;
  rows.dp[at] = dp;
  rows.dp_var[at] = units.store * dp_var;
}

}  // namespace moehill
