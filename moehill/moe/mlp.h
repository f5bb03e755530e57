// The gated MLP of a group of rows, forward and backward: what a routed expert and the shared expert have in
// common.
//
//   h = silu(x W1) * (x W3), o = h W2, over groups of rows with a weight matrix each.
#pragma once

#include "moehill/block/stages.h"
#include "moehill/kernels/grouped_gemm.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// Weights or their gradients. up[0] holds gate and up columns together if `fused`; else up[0] is W1 and up[1]
// is W3.
struct MlpWeights {
  bool fused = false;
  WeightView up[2];
  WeightView down;

  MlpWeights slice_groups(int64_t begin, int64_t end) const;
  void visit(const MemoryVisitor& visitor) const;
};

// Row buffers [rows, ...] between the products.
struct MlpBuffers {
  MatView gate;  // fused: gate and up together [rows, gate_up_columns(M)]; else gate [rows, M]
  MatView up;    // not fused: [rows, M]
  MatView h;     // [rows, M]; backward leaves p h here

  MlpBuffers slice_rows(int64_t begin, int64_t end) const;
  GateUpView gate_up(bool fused) const;
};

// Tells a listener, if there is one, of a stage.
inline void enter(StageListener* listener, Stage stage) {
  if (listener != nullptr) listener->enter(stage);
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
};

// h from x.
struct MlpForward {
  RowSource x;
  const float* row_scale = nullptr;  // [rows] multiplies h; null: 1
  bool keep_products = false;        // leaves gate and up in the buffers, for backward
};
void mlp_up(const MlpContext& context, const GroupRows& groups, const MlpForward& f, const MlpWeights& w,
            const MlpBuffers& buffers);

// out [rows, H] = h W2.
void mlp_down(const MlpContext& context, const GroupRows& groups, const MlpWeights& w, const MatView& h,
              const MatView& out);

// Backward from dy (rows of the output's gradient, before the gate value), three calls in this order: dh in
// the place of h; dx and dp, which overwrite the gate and up of the buffers; the weights' gradients.
struct MlpBackward {
  RowSource x{};
  RowSource dy{};
  const float* p = nullptr;           // gate values of the rows; null: 1
  float* dp = nullptr;                // [T k], null: not wanted from here
  const int32_t* dp_index = nullptr;  // [rows] where in dp
  MatView dx{};                       // [rows, H]
};
void mlp_down_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                   const MlpWeights& w, const MlpBuffers& buffers);
void mlp_input_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                    const MlpWeights& w, const MlpBuffers& buffers);
void mlp_weight_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                     const MlpBuffers& buffers, const MlpWeights& dw);

}  // namespace moehill
