// Activations of an expert, and as stages of their own, forward and backward: h = f(gate, up).
#pragma once

#include <array>
#include <cstdint>

#include "moehill/base/words.h"
#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

// With g = x W1 and u = x W3, limits where they are not 0:
//   silu        silu(min(g, limit)) clamp(u, -limit, limit)
//   swiglu_oai  with g and u clamped likewise: g sigmoid(alpha g) (u + 1)
//   gelu_tanh   gelu(g) u, gelu in its approximation by tanh
//   relu2       max(g, 0)^2, or times u where there is a W3
//   situ        beta tanh(g / beta) sigmoid(g) linear_beta tanh(u / linear_beta)
enum class Activation { silu, swiglu_oai, gelu_tanh, relu2, situ };
constexpr auto words(Activation) { return std::array{"silu", "swiglu-oai", "gelu-tanh", "relu2", "situ"}; }
[[noreturn]] void no_kernel_for(Activation activation);

// gate and up [rows, M], either two matrices or the 8-column blocks of one gate-up matrix.
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
void activation_forward(ThreadTeam& team, Activation activation, const GateUpView& in, const float* row_scale,
                        const MatView& h);

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
void activation_backward(ThreadTeam& team, Activation activation, const GateUpView& in_out, const MatView& dh,
                         const GateValues& values);

}  // namespace moehill
