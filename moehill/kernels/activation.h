// Activation: what an expert makes of its first products, h = f(x W1, x W3). A value, and its stages of their
// own, forward and backward.
#pragma once

#include <array>
#include <cstdint>

#include "moehill/base/words.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// With g = x W1 and u = x W3, or u = 1 where the activation is not gated:
//   silu        silu(g) u
//   swiglu_oai  g sigmoid(alpha g) (u + 1)
//   gelu_tanh   gelu(g) u, gelu in its approximation by tanh: g sigmoid(sqrt(8/pi) (g + 0.044715 g^3))
//   relu2       max(g, 0)^2 u
//   situ        beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta)
// With a limit above 0 silu and swiglu_oai take min(g, limit) and u clamped to [-limit, limit] in their
// place; the derivative at a limit is that inside.
enum class ActivationFunction { silu, swiglu_oai, gelu_tanh, relu2, situ };
constexpr auto words(ActivationFunction) {
  return std::array{"silu", "swiglu-oai", "gelu-tanh", "relu2", "situ"};
}

struct Activation {
  ActivationFunction function = ActivationFunction::silu;
  bool gated = true;                 // there is a W3
  double limit = 0, alpha = 0;       // of silu and swiglu_oai; alpha of swiglu_oai alone
  double beta = 0, linear_beta = 0;  // of situ

  bool operator==(const Activation&) const = default;
};

// gate and up [rows, M], either two matrices or the 8-column blocks of one gate-up matrix; or gate alone.
struct GateUpView {
  MatView gate;
  MatView up;
  int64_t mlp_dim = 0;
  int64_t block_stride = kGateUpWidth;  // elements from one block of 8 columns to the next
};
GateUpView separate_gate_up(const MatView& gate, const MatView& up);
GateUpView interleaved_gate_up(const MatView& gate_up, int64_t mlp_dim);
GateUpView slice_rows(const GateUpView& view, int64_t begin, int64_t end);

// h [rows, M] = f(gate, up) * row_scale (null: 1).
void activation_forward(ThreadTeam& team, const Activation& activation, const GateUpView& in,
                        const float* row_scale, const MatView& h);

// Gate values of rows, and where their gradients go.
struct GateValues {
  const float* p = nullptr;           // [rows], null: 1
  float* dp = nullptr;                // null: not wanted
  const int32_t* dp_index = nullptr;  // [rows] where in dp; -1 skips
};

// Given dh [rows, M], the gradient of the product with W2 before the gate value, and h = f(gate, up):
//   dp[dp_index[r]] = <dh_r, h_r>
//   gate <- p dh df/dgate, up <- p dh df/dup
//   dh <- p h                                 (the operand of dW2)
void activation_backward(ThreadTeam& team, const Activation& activation, const GateUpView& in_out,
                         const MatView& dh, const GateValues& values);

}  // namespace moehill
