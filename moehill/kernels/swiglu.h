// SwiGLU as stages of their own: h = silu(gate) * up, forward and backward.
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

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

// h [rows, M] = silu(gate) * up * row_scale (null: 1).
void swiglu_forward(ThreadTeam& team, const GateUpView& in, const float* row_scale, const MatView& h);

// Given dh [rows, M] (gradient of the product with W2, before the gate value) and the gate values p of the
// rows (null: 1):
//   dp[dp_index[r]] = <dh_r, h_r>            (dp null: not wanted; dp_index -1 skips)
//   gate <- p dh * up * s (1 + gate (1 - s)), up <- p dh * silu(gate), with s = sigmoid(gate)
//   dh <- p h                                 (the operand of dW2)
void swiglu_backward(ThreadTeam& team, const GateUpView& in_out, const MatView& dh, const float* p, float* dp,
                     const int32_t* dp_index);

}  // namespace moehill
