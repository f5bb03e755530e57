// This header has the MLP of a group of rows, forward and backward, as routed experts and the shared expert
// both use it. For groups of rows with one weight matrix each, it computes
//
//   h = f(x W1, x W3), or f(x W1) if the activation f is not gated,
//   o = h W2.
//
// The MLP does not choose the rows, and does not sum the outputs of a token; moe/block.h does. The work goes
// to a GroupedGemm:
//
//   mlp_up(context, offset, {x}, weights, buffers);             // h from x
//   mlp_down(context, offset, {buffers.h, out}, weights);       // out from h
#pragma once

#include <array>

#include "moehill/block/stages.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// MlpWeights are weights or their gradients, and the activation f between the products. If `fused`, the
// product applies f to its finished tiles, and up[0] has the columns of gate and up together. Otherwise up[0]
// is W1 and up[1] is W3. W3 exists only if f is gated.
struct MlpWeights {
  bool fused = false;
  Activation activation{};
  WeightView up[2];
  WeightView down;
  // Vectors (kernels/row_vectors.h), if the form of the block has them: the biases of the products with W1,
  // W3 and W2, and the weights of the shared expert's gate.
  WeightView up_bias[2]{}, down_bias{}, row_gate{};

  std::array<const WeightView*, 7> parts() const {
    return {&up[0], &up[1], &down, &up_bias[0], &up_bias[1], &down_bias, &row_gate};
  }

  bool gate_up() const { return fused && activation.gated; }
  bool two_ups() const { return !fused && activation.gated; }
  MlpWeights slice_groups(int64_t begin, int64_t end) const;
  void visit(const MemoryVisitor& visitor) const;
};

// MlpBuffers are the rows [rows, ...] between the products of an MLP. They are views.
struct MlpBuffers {
  // Gate and up together [rows, gate_up_columns(M)] if the weights are; otherwise gate [rows, M].
  MatView gate;
  MatView up;  // [rows, M], if it is separate
  MatView h;   // [rows, M]; backward leaves p h here

  MlpBuffers slice_rows(int64_t begin, int64_t end) const;
  GateUpView gate_up(const MlpWeights& w) const;
};

// Tells a listener, if there is one, that a stage begins.
inline void enter(StageListener* listener, Stage stage) {
  if (listener != nullptr) listener->enter(stage);
}

// Begins the stage and returns true, unless it is left out.
inline bool begins(StageListener* listener, StageSet left_out, Stage stage) {
  if (left_out.has(stage)) return false;
  enter(listener, stage);
  return true;
}

// MlpStages names the stage under which a listener learns of each product. Routed experts have a stage for
// each product; the shared expert and the recomputation have one stage for all.
struct MlpStages {
  Stage up, act, down, down_grad, act_grad, w2_grad, up_grad, w13_grad;
};
inline constexpr MlpStages kRoutedStages{Stage::up,       Stage::act,     Stage::down,    Stage::down_grad,
                                         Stage::act_grad, Stage::w2_grad, Stage::up_grad, Stage::w13_grad};
inline constexpr MlpStages kSharedStages{Stage::shared,      Stage::shared,      Stage::shared,
                                         Stage::shared_grad, Stage::shared_grad, Stage::shared_grad,
                                         Stage::shared_grad, Stage::shared_grad};
inline constexpr MlpStages kRecomputeStages{Stage::recompute, Stage::recompute, Stage::recompute,
                                            Stage::recompute, Stage::recompute, Stage::recompute,
                                            Stage::recompute, Stage::recompute};

// MlpContext has the arguments that all calls of a pass share.
struct MlpContext {
  ThreadTeam& team;
  GroupedGemm& gemm;
  StageListener* listener = nullptr;
  MlpStages stages = kRoutedStages;
  StageSet left_out{};

  bool begins(Stage stage) const { return moehill::begins(listener, left_out, stage); }
};

// MlpForward describes how to make h from x.
struct MlpForward {
  RowSource x;
  const float* row_scale = nullptr;  // [rows] multiplies h; null: 1
  bool keep_products = false;        // true: gate and up stay in the buffers, for backward
  const float* x_scale = nullptr;    // [rows] multiplies x; null: 1
};
void mlp_up(const MlpContext& context, const GroupRows& groups, const MlpForward& f, const MlpWeights& w,
            const MlpBuffers& buffers);

// MlpDown describes out [rows, H] = h W2, plus row_scale times the bias.
struct MlpDown {
  MatView h, out;
  const float* row_scale = nullptr;  // [rows] the factor that h was multiplied by; null: 1
};
void mlp_down(const MlpContext& context, const GroupRows& groups, const MlpDown& d, const MlpWeights& w);

// MlpBackward describes the backward pass from dy, the rows of the output's gradient before the gate value.
// It takes three calls in this order: mlp_down_grad puts dh in the place of h; mlp_input_grad makes dx and dp
// and overwrites gate and up with their gradients; mlp_weight_grad makes the gradients of the weights.
struct MlpBackward {
  RowSource x{};
  RowSource dy{};
  const float* p = nullptr;           // gate values of the rows; null: 1
  float* dp = nullptr;                // [T k]; null: this pass makes no dp
  const int32_t* dp_index = nullptr;  // [rows] the place of a row's dp
  MatView dx{};                       // [rows, H]
  // [rows] the factor of x in forward. If it is given, p is null, dx is the gradient of the scaled x, and dp
  // is the gradient of this factor.
  const float* x_scale = nullptr;
};
void mlp_down_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                   const MlpWeights& w, const MlpBuffers& buffers);
void mlp_input_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                    const MlpWeights& w, const MlpBuffers& buffers);
void mlp_weight_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                     const MlpBuffers& buffers, const MlpWeights& dw);

}  // namespace moehill
