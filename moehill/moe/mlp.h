// The MLP of a group of rows, forward and backward: what a routed expert and the shared expert have in
// common.
//
//   h = f(x W1, x W3), or f(x W1) where it is not gated, o = h W2, over groups of rows with a weight matrix
//   each.
#pragma once

#include <array>

#include "moehill/block/stages.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// Weights or their gradients, and the activation f between them. With `fused` f is made of finished tiles,
// and up[0] holds gate and up columns together; else up[0] is W1 and up[1] is W3. A W3 is only where f is
// gated.
struct MlpWeights {
  bool fused = false;
  Activation activation{};
  WeightView up[2];
  WeightView down;
  // Vectors (kernels/row_vectors.h), where the form has them: biases of the products with W1, W3 and W2, and
  // that of the shared expert's gate.
  WeightView up_bias[2]{}, down_bias{}, row_gate{};

  std::array<const WeightView*, 7> parts() const {
    return {&up[0], &up[1], &down, &up_bias[0], &up_bias[1], &down_bias, &row_gate};
  }

  bool gate_up() const { return fused && activation.gated; }
  bool two_ups() const { return !fused && activation.gated; }
  MlpWeights slice_groups(int64_t begin, int64_t end) const;
  void visit(const MemoryVisitor& visitor) const;
};

// Row buffers [rows, ...] between the products.
struct MlpBuffers {
  MatView gate;  // gate and up together [rows, gate_up_columns(M)] where the weights are; else gate [rows, M]
  MatView up;    // [rows, M] where it is apart
  MatView h;     // [rows, M]; backward leaves p h here

  MlpBuffers slice_rows(int64_t begin, int64_t end) const;
  GateUpView gate_up(const MlpWeights& w) const;
};

// Tells a listener, if there is one, of a stage.
inline void enter(StageListener* listener, Stage stage) {
  if (listener != nullptr) listener->enter(stage);
}

// Begins the stage and returns true, unless it is left out.
inline bool begins(StageListener* listener, StageSet left_out, Stage stage) {
  if (left_out.has(stage)) return false;
  enter(listener, stage);
  return true;
}

// The stages by which the products are reported: a routed expert has one each, the shared expert one in all.
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

struct MlpContext {
  ThreadTeam& team;
  GroupedGemm& gemm;
  StageListener* listener = nullptr;
  MlpStages stages = kRoutedStages;
  StageSet left_out{};

  bool begins(Stage stage) const { return moehill::begins(listener, left_out, stage); }
};

// h from x.
struct MlpForward {
  RowSource x;
  const float* row_scale = nullptr;  // [rows] multiplies h; null: 1
  bool keep_products = false;        // leaves gate and up in the buffers, for backward
  const float* x_scale = nullptr;    // [rows] multiplies x; null: 1
};
void mlp_up(const MlpContext& context, const GroupRows& groups, const MlpForward& f, const MlpWeights& w,
            const MlpBuffers& buffers);

// out [rows, H] = h W2, plus row_scale times the bias.
struct MlpDown {
  MatView h, out;
  const float* row_scale = nullptr;  // [rows] that h was multiplied by; null: 1
};
void mlp_down(const MlpContext& context, const GroupRows& groups, const MlpDown& d, const MlpWeights& w);

// Backward from dy (rows of the output's gradient, before the gate value), three calls in this order: dh in
// the place of h; dx and dp, which overwrite the gate and up of the buffers; the weights' gradients.
struct MlpBackward {
  RowSource x{};
  RowSource dy{};
  const float* p = nullptr;           // gate values of the rows; null: 1
  float* dp = nullptr;                // [T k], null: not wanted from here
  const int32_t* dp_index = nullptr;  // [rows] where in dp
  MatView dx{};                       // [rows, H]
  // [rows] what x was multiplied by, in which case p is null: dx is that of the scaled x, and dp the gradient
  // of this factor.
  const float* x_scale = nullptr;
};
void mlp_down_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                   const MlpWeights& w, const MlpBuffers& buffers);
void mlp_input_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                    const MlpWeights& w, const MlpBuffers& buffers);
void mlp_weight_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                     const MlpBuffers& buffers, const MlpWeights& dw);

}  // namespace moehill
