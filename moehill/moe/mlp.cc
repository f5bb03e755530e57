// This file runs the MLP with grouped products (kernels/grouped_gemm.h). A backend that can fuse applies the
// activation inside the product; otherwise activation and product are separate stages.
#include "moehill/moe/mlp.h"

#include "moehill/kernels/row_vectors.h"
#include "moehill/kernels/rows.h"

namespace moehill {

MlpWeights MlpWeights::slice_groups(int64_t begin, int64_t end) const {
  MlpWeights part = *this;
  for (WeightView& view : part.up) {
    if (view.data != nullptr) view = view.slice_groups(begin, end);
  }
  part.down = down.slice_groups(begin, end);
  for (WeightView* view : {&part.up_bias[0], &part.up_bias[1], &part.down_bias}) {
    if (view->data != nullptr) *view = view->slice_groups(begin, end);
  }
  return part;
}

void MlpWeights::visit(const MemoryVisitor& visitor) const {
  for (const WeightView* stack : parts()) visit_stack(*stack, visitor);
}

MlpBuffers MlpBuffers::slice_rows(int64_t begin, int64_t end) const {
  MlpBuffers part = *this;
  for (MatView* view : {&part.gate, &part.up, &part.h}) {
    if (view->data != nullptr) *view = view->slice_rows(begin, end);
  }
  return part;
}

GateUpView MlpBuffers::gate_up(const MlpWeights& w) const {
  return w.gate_up() ? interleaved_gate_up(gate, h.cols) : separate_gate_up(gate, up);
}

namespace {

// UpProduct is one of the products of an MLP whose activation is a separate stage.
struct UpProduct {
  const WeightView &w, &bias;
  MatView out;
  WeightView up_bias{};  // if gates and ups are one product
};

void forward_product(const MlpContext& context, const GroupRows& groups, const MlpForward& f,
                     const UpProduct& product) {
  context.gemm.forward(
      context.team, groups, f.x, product.w,
      {.c = product.out, .product_scale = f.x_scale, .bias = product.bias, .up_bias = product.up_bias});
}

// Sums db [groups][1, M] from the gradients of the gates or the ups, which are in the buffers.
void sum_gradients(const MlpContext& context, const GroupRows& groups, const GateUpView& of,
                   const MatView& gradients, const WeightView& db) {
  if (db.data != nullptr)
    sum_rows(context.team, groups, {{gradients}, nullptr, of.mlp_dim, of.block_stride}, db);
}

}  // namespace

void mlp_up(const MlpContext& context, const GroupRows& groups, const MlpForward& f, const MlpWeights& w,
            const MlpBuffers& buffers) {
  const bool fused = w.fused && context.gemm.gathers_and_fuses();
  if (context.begins(context.stages.up)) {
    if (fused) {
      return context.gemm.forward(context.team, groups, f.x, w.up[0],
                                  {.c = f.keep_products ? buffers.gate : MatView{},
                                   .activation = w.activation,
                                   .h = buffers.h,
                                   .row_scale = f.row_scale,
                                   .product_scale = f.x_scale,
                                   .bias = w.up_bias[0],
                                   .up_bias = w.up_bias[1]});
    }
    forward_product(context, groups, f,
                    {w.up[0], w.up_bias[0], buffers.gate, w.gate_up() ? w.up_bias[1] : WeightView{}});
    if (w.two_ups()) forward_product(context, groups, f, {w.up[1], w.up_bias[1], buffers.up, {}});
  }
  if (!fused && context.begins(context.stages.act))
    activation_forward(context.team, w.activation, buffers.gate_up(w), f.row_scale, buffers.h);
}

void mlp_down(const MlpContext& context, const GroupRows& groups, const MlpDown& d, const MlpWeights& w) {
  if (!context.begins(context.stages.down)) return;
  const ForwardOutput out{.c = d.out, .row_scale = d.row_scale, .bias = w.down_bias};
  context.gemm.forward(context.team, groups, {d.h}, w.down, out, Product::to_hidden);
}

void mlp_down_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                   const MlpWeights& w, const MlpBuffers& buffers) {
  if (!context.begins(context.stages.down_grad)) return;
  context.gemm.input_grad(context.team, groups, b.dy, w.down, {buffers.h}, Product::to_width);
}

void mlp_input_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                    const MlpWeights& w, const MlpBuffers& buffers) {
  ThreadTeam& team = context.team;
  if (context.begins(context.stages.act_grad)) {
    activation_backward(team, w.activation, buffers.gate_up(w), buffers.h, {b.p, b.dp, b.dp_index});
    // The output has p b2 in it, so <dy, b2> is a part of dp.
    if (b.dp != nullptr && w.down_bias.data != nullptr)
      add_vector_dots(team, groups, {b.dy, w.down_bias, b.dp_index}, b.dp);
  }
  if (!context.begins(context.stages.up_grad)) return;
  context.gemm.input_grad(team, groups, {buffers.gate}, w.up[0], {b.dx});
  if (w.two_ups()) context.gemm.input_grad(team, groups, {buffers.up}, w.up[1], {b.dx, true});
  if (b.x_scale == nullptr) return;
  // The gate value multiplied x in forward, so dp is <dx, x>. Then the gradients of gate and up are
  // multiplied by the gate value, so that dW1 and dW3 can be made with the unscaled x.
  const Range rows{groups[0].begin, groups[groups.size() - 1].end};
  row_dots(team, {b.dx, b.x.matrix, b.x.index, b.dp_index}, rows.end, b.dp);
  scale_rows(team, b.x_scale, buffers.gate.slice_rows(0, rows.end));
  if (w.two_ups()) scale_rows(team, b.x_scale, buffers.up.slice_rows(0, rows.end));
}

void mlp_weight_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                     const MlpBuffers& buffers, const MlpWeights& dw) {
  ThreadTeam& team = context.team;
  if (context.begins(context.stages.w2_grad)) {
    context.gemm.weight_grad(team, groups, {buffers.h}, b.dy, dw.down);
    if (dw.down_bias.data != nullptr) sum_rows(team, groups, {b.dy, b.p, dw.down.n}, dw.down_bias);
  }
  if (!context.begins(context.stages.w13_grad)) return;
  context.gemm.weight_grad(team, groups, b.x, {buffers.gate}, dw.up[0]);
  if (dw.two_ups()) context.gemm.weight_grad(team, groups, b.x, {buffers.up}, dw.up[1]);
  const GateUpView of = buffers.gate_up(dw);
  sum_gradients(context, groups, of, of.gate, dw.up_bias[0]);
  sum_gradients(context, groups, of, of.up, dw.up_bias[1]);
}

}  // namespace moehill
