// The activation is what an expert computes between its products, h = f(x W1, x W3). This header has the
// activation as a value, and as a stage of its own, forward and backward. A product that applies the
// activation to its results has it as an epilogue (ForwardOutput of kernels/grouped_gemm.h).
//
//   const Activation silu;   // the default
//   activation_forward(team, silu, separate_gate_up(gate, up), nullptr, h);   // h = silu(gate) * up
#pragma once

#include <array>
#include <cstdint>

#include "moehill/base/words.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// These are the activations, with g = x W1 and u = x W3 (u = 1 if there is no W3); docs/metrics.md has the
// sources:
//   silu        silu(g) u
//   swiglu_oai  g sigmoid(alpha g) (u + 1)
//   gelu_tanh   gelu(g) u, gelu approximated by tanh: g sigmoid(sqrt(8/pi) (g + 0.044715 g^3))
//   relu2       max(g, 0)^2 u
//   situ        beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta)
// If limit > 0, silu and swiglu_oai use min(g, limit) for g, and u clamped to [-limit, limit] for u. Exactly
// at a limit, the derivative is the one inside the limit.
enum class ActivationFunction { silu, swiglu_oai, gelu_tanh, relu2, situ };
constexpr auto words(ActivationFunction) {
  return std::array{"silu", "swiglu-oai", "gelu-tanh", "relu2", "situ"};
}

// Activation is an activation with its constants.
struct Activation {
  ActivationFunction function = ActivationFunction::silu;
  bool gated = true;                 // there is a W3; only relu2 may be without one
  double limit = 0, alpha = 0;       // for silu and swiglu_oai; alpha for swiglu_oai only
  double beta = 0, linear_beta = 0;  // for situ only

  bool operator==(const Activation&) const = default;
};

// GateUpView is a view of the gate and up values [rows, M]: two matrices, or one gate-up matrix whose columns
// alternate in blocks of 8 (tensor/weight_stack.h), or the gate alone. It owns nothing.
struct GateUpView {
  MatView gate;
  MatView up;
  int64_t mlp_dim = 0;
  int64_t block_stride = kGateUpWidth;  // elements from one block of 8 columns to the next
};
// These functions make such views of two matrices, of one gate-up matrix, and of the rows [begin, end) of a
// view.
GateUpView separate_gate_up(const MatView& gate, const MatView& up);
GateUpView interleaved_gate_up(const MatView& gate_up, int64_t mlp_dim);
GateUpView slice_rows(const GateUpView& view, int64_t begin, int64_t end);

// Writes h [rows, M] = f(gate, up) * row_scale[r]. A null row_scale stands for 1.
void activation_forward(ThreadTeam& team, const Activation& activation, const GateUpView& in,
                        const float* row_scale, const MatView& h);

// GateValues are the gate values p of rows, and the place for their gradients dp.
struct GateValues {
  const float* p = nullptr;           // [rows]; null: 1
  float* dp = nullptr;                // null: the gradients are not wanted
  const int32_t* dp_index = nullptr;  // [rows] position in dp; -1: none for this row
};

// Makes the backward pass. dh [rows, M] is the gradient of the input of the product with W2, without the gate
// value. The function computes h = f(gate, up) again, and overwrites its operands:
//   dp[dp_index[r]] = <dh_r, h_r>
//   gate <- p dh df/dgate, up <- p dh df/dup
//   dh <- p h                                 (the operand of dW2)
void activation_backward(ThreadTeam& team, const Activation& activation, const GateUpView& in_out,
                         const MatView& dh, const GateValues& values);

}  // namespace moehill
