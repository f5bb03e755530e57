#include "moehill/moe/mlp.h"

namespace moehill {

MlpWeights MlpWeights::slice_groups(int64_t begin, int64_t end) const {
  MlpWeights part = *this;
  for (WeightView& view : part.up) {
    if (view.data != nullptr) view = view.slice_groups(begin, end);
  }
  part.down = down.slice_groups(begin, end);
  return part;
}

void MlpWeights::visit(const MemoryVisitor& visitor) const {
  for (const WeightView* stack : {&up[0], &up[1], &down}) visit_stack(*stack, visitor);
}

MlpBuffers MlpBuffers::slice_rows(int64_t begin, int64_t end) const {
  MlpBuffers part = *this;
  for (MatView* view : {&part.gate, &part.up, &part.h}) {
    if (view->data != nullptr) *view = view->slice_rows(begin, end);
  }
  return part;
}

GateUpView MlpBuffers::gate_up(bool fused) const {
  return fused ? interleaved_gate_up(gate, h.cols) : separate_gate_up(gate, up);
}

void mlp_up(const MlpContext& context, const GroupRows& groups, const MlpForward& f, const MlpWeights& w,
            const MlpBuffers& buffers) {
  enter(context.listener, context.stages.up);
  if (w.fused && context.gemm.gathers_and_fuses()) {
    const MatView products = f.keep_products ? buffers.gate : MatView{};
    return context.gemm.forward(context.team, groups, f.x, w.up[0],
                                {products, Activation::silu, buffers.h, f.row_scale});
  }
  context.gemm.forward(context.team, groups, f.x, w.up[0], {buffers.gate});
  if (!w.fused) context.gemm.forward(context.team, groups, f.x, w.up[1], {buffers.up});
  enter(context.listener, context.stages.act);
  activation_forward(context.team, Activation::silu, buffers.gate_up(w.fused), f.row_scale, buffers.h);
}

void mlp_down(const MlpContext& context, const GroupRows& groups, const MlpWeights& w, const MatView& h,
              const MatView& out) {
  enter(context.listener, context.stages.down);
  context.gemm.forward(context.team, groups, {h}, w.down, {out}, Product::to_hidden);
}

void mlp_down_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                   const MlpWeights& w, const MlpBuffers& buffers) {
  enter(context.listener, context.stages.down_grad);
  context.gemm.input_grad(context.team, groups, b.dy, w.down, {buffers.h}, Product::to_width);
}

void mlp_input_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                    const MlpWeights& w, const MlpBuffers& buffers) {
  ThreadTeam& team = context.team;
  enter(context.listener, context.stages.act_grad);
  activation_backward(team, Activation::silu, buffers.gate_up(w.fused), buffers.h, {b.p, b.dp, b.dp_index});
  enter(context.listener, context.stages.up_grad);
  context.gemm.input_grad(team, groups, {buffers.gate}, w.up[0], {b.dx});
  if (!w.fused) context.gemm.input_grad(team, groups, {buffers.up}, w.up[1], {b.dx, true});
}

void mlp_weight_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                     const MlpBuffers& buffers, const MlpWeights& dw) {
  ThreadTeam& team = context.team;
  enter(context.listener, context.stages.w2_grad);
  context.gemm.weight_grad(team, groups, {buffers.h}, b.dy, dw.down);
  enter(context.listener, context.stages.w13_grad);
  context.gemm.weight_grad(team, groups, b.x, {buffers.gate}, dw.up[0]);
  if (!dw.fused) context.gemm.weight_grad(team, groups, b.x, {buffers.up}, dw.up[1]);
}

}  // namespace moehill
