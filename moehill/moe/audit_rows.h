// The element-by-element part of the audit: what SwiGLU makes of the products of some rows of one expert,
// with the variance of each value. F is float, or double where every element is compared by itself.
#pragma once

#include <cmath>

#include "moehill/moe/projection.h"

namespace moehill {

// Squares of unit round-offs and what they are multiplied with.
struct ErrorUnits {
  double store;  // u^2 of the storage type
  double sum;    // a sum in f32 has the variance sum * n * |a|^2 |b|^2 / n
  // Two sums are compared, ours and the reference's, which each have v^2; doubled for sums in other orders.
  explicit ErrorUnits(DType dtype) : store(dtype == DType::f32 ? 0x1p-48 : 0x1p-18), sum(4 * 0x1p-48) {}
};

// One expert's (or the shared expert's) weights and what the audit derives of them.
template <typename F>
struct AuditWeights {
  Dense<F> w1, w3;                     // [H, M]
  Dense<F> w2;                         // [M, H]
  Projected<F> w1_blocks, w3_blocks;   // [blocks of H, M]
  Projected<F> w2_blocks;              // [M, blocks of H]
  std::vector<F> norm1, norm3, norm2;  // [M] squares of the norms of columns of W1, W3 and of rows of W2
};

// Rows a of one expert. What a row has of a weight gradient is proportional to its gate value and to the size
// of its token's dy; both may be so small that their squares leave the range of F. So they are apart from
// the rows: `share` is their product relative to the largest one of the expert, which is `unit`.
struct AuditAssignments {
  std::vector<int64_t> token;
  std::vector<int> choice;
  std::vector<double> gate;
  std::vector<double> dy_size;  // a power of two
  std::vector<double> share;
  double unit = 1;

  int64_t size() const { return static_cast<int64_t>(token.size()); }
};

// Values of a chunk of an expert's rows, [rows, ...]. Gradients are those of dy = y over its size, without
// the gate value.
template <typename F>
struct AuditRows {
  Dense<F> x, dy;                  // [rows, H]
  std::vector<F> x_norm, dy_norm;  // [rows], squares
  Dense<F> gate, up;               // [rows, M]: x W1, x W3
  Dense<F> h, h_var;
  Dense<F> dh;  // dy W2^T
  Dense<F> dgate, dgate_var, dup, dup_var;
  std::vector<F> share;            // [rows]
  std::vector<double> dp, dp_var;  // [rows]; the variance but for the rounding of the expert's output

  void reshape(int64_t rows, int64_t hidden, int64_t width, bool backward) {
    for (Dense<F>* m : {&gate, &up, &h, &h_var}) m->reshape(rows, width);
    x.reshape(rows, hidden);
    for (std::vector<F>* v : {&x_norm, &dy_norm, &share}) v->resize(static_cast<size_t>(rows));
    if (!backward) return;
    dy.reshape(rows, hidden);
    for (Dense<F>* m : {&dh, &dgate, &dgate_var, &dup, &dup_var}) m->reshape(rows, width);
    dp.resize(static_cast<size_t>(rows));
    dp_var.resize(static_cast<size_t>(rows));
  }
};

// silu(g) = g s, with the derivatives of first and second order.
template <typename F>
struct Silu {
  F value, first, second;
  explicit Silu(F g) {
    const F s = 1 / (1 + std::exp(-g));
    value = g * s;
    first = s * (1 + g * (1 - s));
    second = s * (1 - s) * (2 + g * (1 - 2 * s));
  }
};

// Row a: h and its variance from gate and up; with `kBackward` also dp, dgate and dup from dh, with theirs.
template <bool kBackward, typename F>
void activate_row(const ErrorUnits& units, const AuditWeights<F>& w, int64_t a, AuditRows<F>& rows) {
  const size_t at = static_cast<size_t>(a);
  const F store = static_cast<F>(units.store), sum = static_cast<F>(units.sum);
  const F function = store + 16 * static_cast<F>(0x1p-48);
  const F x_sum = sum * rows.x_norm[at];
  // dy is rounded too; its errors meet every row of W2 alike, hence 4 for 1.
  const F dy_sum = kBackward ? (sum + 4 * store / static_cast<F>(rows.dy.cols)) * rows.dy_norm[at] : F{0};
  const F *gate = rows.gate.row(a), *up = rows.up.row(a), *dh_row = kBackward ? rows.dh.row(a) : nullptr;
  F *h = rows.h.row(a), *h_var = rows.h_var.row(a);
  double dp = 0, dp_var = 0;
  for (int64_t m = 0; m < rows.h.cols; ++m) {
    const size_t i = static_cast<size_t>(m);
    const Silu<F> silu(gate[m]);
    const F gate_var = x_sum * w.norm1[i] + store * gate[m] * gate[m];
    const F up_var = x_sum * w.norm3[i] + store * up[m] * up[m];
    const F slope = up[m] * silu.first;  // of h by gate
    h[m] = silu.value * up[m];
    h_var[m] = slope * slope * gate_var + silu.value * silu.value * up_var + function * h[m] * h[m];
    if constexpr (kBackward) {
      const F dh = dh_row[m], dh_var = dy_sum * w.norm2[i] + store * dh * dh;
      dp += static_cast<double>(h[m]) * dh;
      dp_var += h_var[m] * dh * dh + h[m] * h[m] * dh_var;
      const F by_up = dh * silu.first, by_gate = dh * up[m] * silu.second;
      const F dgate = slope * dh, dup = silu.value * dh;
      rows.dgate.row(a)[m] = dgate;
      rows.dup.row(a)[m] = dup;
      rows.dgate_var.row(a)[m] = slope * slope * dh_var + by_up * by_up * up_var +
                                 by_gate * by_gate * gate_var + store * dgate * dgate;
      rows.dup_var.row(a)[m] =
          silu.value * silu.value * dh_var + by_up * by_up * gate_var + store * dup * dup;
    }
  }
  if (!kBackward) return;
  rows.dp[at] = dp;
  rows.dp_var[at] = dp_var;
}

}  // namespace moehill
