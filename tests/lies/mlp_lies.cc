// Lies about the stages of the gated MLP (the functions mlp_* and the products they consist of), about passes
// of the block, and about gradients of the router. Each Lie below has a name and one sentence on what goes
// wrong; lie.h explains seams.
#include <algorithm>
#include <cstring>
#include <map>
#include <mutex>
#include <vector>

#include "moehill/kernels/activation.h"
#include "moehill/kernels/rows.h"
#include "moehill/moe/block.h"
#include "moehill/parallel/router_product.h"
#include "moehill/routing/router.h"
#include "tests/lies/lie.h"

namespace moehill {
namespace {

const Lie up_left_out("up_left_out", "the up-projection of the routed experts is left out");
const Lie down_left_out("down_left_out", "the down-projection of the routed experts is left out");
const Lie down_grad_left_out("down_grad_left_out", "the product with W2^T is left out");
const Lie input_grad_left_out("input_grad_left_out",
                              "SwiGLU's gradient and the product with W1^T, W3^T are left out");
const Lie act_grad_left_out("act_grad_left_out", "SwiGLU's gradient is left out");
const Lie act_left_out("act_left_out", "SwiGLU is left out where it is a stage of its own");
const Lie limit_left_out("limit_left_out", "the experts' activation leaves its limit out");
const Lie other_activation("other_activation", "the experts' activation is another one");
const Lie other_activation_grad("other_activation_grad", "backward takes another activation");
const Lie up_bias_left_out("up_bias_left_out", "the biases of gate and up are left out");
const Lie down_bias_left_out("down_bias_left_out", "the bias of the experts' output is left out");
const Lie bias_grad_left_out("bias_grad_left_out", "the gradients of the biases are left out");
const Lie shared_gate_left_out("shared_gate_left_out", "the gate of the shared expert is left out");
const Lie input_weight_left_out("input_weight_left_out", "gate values do not multiply the inputs");
const Lie w2_grad_left_out("w2_grad_left_out", "dW2 is left out");
const Lie w13_grad_left_out("w13_grad_left_out", "dW1 and dW3 are left out");
const Lie recompute_left_out("recompute_left_out", "what backward makes again is left out");
const Lie pack_left_out("pack_left_out", "rows are not packed");
const Lie dp_dots_left_out("dp_dots_left_out", "the inner products of dp are left out");
const Lie router_left_out("router_left_out", "the router in the step is left out");
const Lie router_choices_exchanged("router_choices_exchanged",
                                   "the router gives a token's best expert the gate value of the second");
const Lie router_softmax_of_others(
    "router_softmax_of_others",
    "the router takes the softmax over all experts for that over the chosen, or "
    "the other way round");
const Lie router_grad_left_out("router_grad_left_out", "the gradient of the logits is left out");
const Lie router_product_left_out("router_product_left_out", "the router's own product is left out");
const Lie router_product_of_part("router_product_of_part",
                                 "the router's product leaves out the last value of each token");
const Lie dwg_left_out("dwg_left_out", "dW_g lacks a device's tokens");
const Lie router_dx_left_out("router_dx_left_out", "dx lacks what comes through the router");
const Lie no_backward("no_backward", "no backward pass");
const Lie packed_weights_kept("packed_weights_kept",
                              "W1 and W3 are packed in the first step, and later steps use what was packed");
const Lie router_choices_kept("router_choices_kept",
                              "the router chooses in the first step, and later steps only make gate values");

const Lie shared_left_out("shared_left_out", "the shared expert is missing in y");
const Lie shared_counted_twice("shared_counted_twice", "the shared expert is added twice to y");
const Lie shared_stages_left_out("shared_stages_left_out",
                                 "the shared expert's forward products are left out");
const Lie shared_grad_left_out("shared_grad_left_out", "the shared expert's gradients are left out");
const Lie tail_column_lost("tail_column_lost", "the last column of the routed experts' sum is not written");
const Lie last_row_not_multiplied("last_row_not_multiplied",
                                  "products leave out the last row of each expert");
const Lie backward_p_left_out("backward_p_left_out", "backward takes the gate value as 1");
const Lie backward_row_lost("backward_row_lost",
                            "backward takes gate value 0 in the last row of each expert");
const Lie dx_misses_one_expert("dx_misses_one_expert", "dx without the first expert's share");
const Lie dw_misses_last_rows("dw_misses_last_rows",
                              "weight gradients leave out the last row of each expert");

bool is_routed(const MlpContext& context) { return context.stages.w2_grad == Stage::w2_grad; }
bool is_shared(const MlpContext& context) {
  return context.stages.up == Stage::shared || context.stages.w2_grad == Stage::shared_grad;
}

// Returns the weights with SwiGLU in place of their own activation.
MlpWeights with_silu(const MlpWeights& w) {
  MlpWeights told = w;
  told.activation = {};
  return told;
}

Matrix copy_of(const MatView& m) {
  Matrix copy = Matrix::tight(m.rows, m.cols, m.dtype);
  for (int64_t r = 0; r < m.rows; ++r) {
    for (int64_t c = 0; c < m.cols; ++c) copy.view().set(r, c, m.at(r, c));
  }
  return copy;
}

// ShortGroups holds the rows of each group without the last one.
class ShortGroups {
 public:
  explicit ShortGroups(const GroupRows& groups) {
    for (int64_t g = 0; g < groups.size(); ++g) {
      begin_.push_back(groups[g].begin);
      end_.push_back(std::max(groups[g].begin, groups[g].end - 1));
    }
  }
  GroupRows rows() const { return {begin_, end_}; }

 private:
  std::vector<int64_t> begin_, end_;
};

// Memory for a gradient that nobody reads.
class Nowhere {
 public:
  explicit Nowhere(const WeightView& like)
      : view_(like), bytes_(like.data == nullptr ? 0 : like.bytes() + 64) {
    if (like.data != nullptr) view_.data = bytes_.data();
  }
  const WeightView& view() const { return view_; }

 private:
  WeightView view_;
  std::vector<char> bytes_;
};

// Returns the weights as they were at this address in the first step of the run.
WeightView as_first_packed(const WeightView& w) {
  static std::mutex mutex;
  static std::map<std::pair<const void*, int64_t>, WeightStack> packed;
  if (w.data == nullptr || w.num_groups == 0) return w;
  const std::lock_guard lock(mutex);
  WeightStack& kept = packed[{w.data, w.num_groups}];
  if (step_number() == 0) {
    kept = WeightStack(w.layout, w.num_groups, w.k, w.n, w.dtype);
    std::memcpy(kept.view().data, w.data, w.bytes());
  }
  const WeightView& first = kept.view();
  return first.data != nullptr && first.bytes() == w.bytes() ? first : w;
}

// Puts the choices of the first step of the run in place of those that were just made.
void restore_choices(Range tokens, Routing& routing) {
  static std::mutex mutex;
  static std::map<const Routing*, std::vector<int32_t>> chosen;
  const std::lock_guard lock(mutex);
  std::vector<int32_t>& kept = chosen[&routing];
  kept.resize(routing.expert.size());
  const auto begin = tokens.begin * routing.topk, end = tokens.end * routing.topk;
  const auto& from = step_number() == 0 ? routing.expert : kept;
  auto& to = step_number() == 0 ? kept : routing.expert;
  std::copy(from.begin() + begin, from.begin() + end, to.begin() + begin);
}

void scale_rows(const MatView& rows, float factor) {
  for (int64_t r = 0; r < rows.rows; ++r) {
    for (int64_t c = 0; c < rows.cols; ++c) rows.set(r, c, factor * rows.at(r, c));
  }
}

}  // namespace

SEAM(
    "_ZN7moehill6mlp_upERKNS_10MlpContextERKNS_9GroupRowsERKNS_10MlpForwardERKNS_10MlpWeightsERKNS_"
    "10MlpBuffersE",
    void, up, const MlpContext&, const GroupRows&, const MlpForward&, const MlpWeights&, const MlpBuffers&);

void lying_up(const MlpContext& context, const GroupRows& groups, const MlpForward& f, const MlpWeights& w,
              const MlpBuffers& buffers) {
  const bool routed = context.stages.up == Stage::up;
  if (routed && up_left_out.told_on(context.team)) return;
  if (context.stages.up == Stage::recompute && recompute_left_out.told_on(context.team)) return;
  if (is_shared(context) && shared_stages_left_out.told_on(context.team)) return;
  const ShortGroups fewer(groups);
  const bool shorter = routed && last_row_not_multiplied.told_on(context.team);
  MlpWeights told = w;
  if (w.activation.limit > 0 && limit_left_out.told_on(context.team)) told.activation.limit = 0;
  if (other_activation.told_on(context.team)) told = with_silu(w);
  if (w.up_bias[0].data != nullptr && up_bias_left_out.told_on(context.team))
    told.up_bias[0] = told.up_bias[1] = {};
  MlpForward forward = f;
  if (is_shared(context) && f.row_scale != nullptr && shared_gate_left_out.told_on(context.team))
    forward.row_scale = nullptr;
  if (f.x_scale != nullptr && input_weight_left_out.told_on(context.team)) forward.x_scale = nullptr;
  if (packed_weights_kept.is_chosen()) {
    const bool lies = packed_weights_kept.told_on(context.team);
    for (WeightView& up : told.up) {
      const WeightView first = as_first_packed(up);
      if (lies) up = first;
    }
  }
  real_up(context, shorter ? fewer.rows() : groups, forward, told, buffers);
}

SEAM("_ZN7moehill8mlp_downERKNS_10MlpContextERKNS_9GroupRowsERKNS_7MlpDownERKNS_10MlpWeightsE", void, down,
     const MlpContext&, const GroupRows&, const MlpDown&, const MlpWeights&);

void lying_down(const MlpContext& context, const GroupRows& groups, const MlpDown& d, const MlpWeights& w) {
  if (is_routed(context) && down_left_out.told_on(context.team)) return;
  if (is_shared(context) && shared_stages_left_out.told_on(context.team)) return;
  MlpWeights told = w;
  if (w.down_bias.data != nullptr && down_bias_left_out.told_on(context.team)) told.down_bias = {};
  real_down(context, groups, d, told);
  if (!is_shared(context)) return;
  if (shared_left_out.told_on(context.team)) scale_rows(d.out, 0);
  if (shared_counted_twice.told_on(context.team)) scale_rows(d.out, 2);
}

SEAM(
    "_ZN7moehill13mlp_down_gradERKNS_10MlpContextERKNS_9GroupRowsERKNS_11MlpBackwardERKNS_10MlpWeightsERKNS_"
    "10MlpBuffersE",
    void, down_grad, const MlpContext&, const GroupRows&, const MlpBackward&, const MlpWeights&,
    const MlpBuffers&);

void lying_down_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                     const MlpWeights& w, const MlpBuffers& buffers) {
  if (is_routed(context) && down_grad_left_out.told_on(context.team)) return;
  if (is_shared(context) && shared_grad_left_out.told_on(context.team)) return;
  real_down_grad(context, groups, b, w, buffers);
}

SEAM(
    "_ZN7moehill14mlp_input_gradERKNS_10MlpContextERKNS_9GroupRowsERKNS_11MlpBackwardERKNS_10MlpWeightsERKNS_"
    "10MlpBuffersE",
    void, input_grad, const MlpContext&, const GroupRows&, const MlpBackward&, const MlpWeights&,
    const MlpBuffers&);

void lying_input_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                      const MlpWeights& w, const MlpBuffers& buffers) {
  if (is_shared(context) && shared_grad_left_out.told_on(context.team)) return;
  if (!is_routed(context)) return real_input_grad(context, groups, b, w, buffers);
  if (input_grad_left_out.told_on(context.team)) return;
  MlpBackward spoilt = b;
  std::vector<float> p;
  if (b.p != nullptr && backward_p_left_out.told_on(context.team)) spoilt.p = nullptr;
  if (b.p != nullptr && backward_row_lost.told_on(context.team)) {
    p.assign(b.p, b.p + b.dx.rows);
    for (int64_t g = 0; g < groups.size(); ++g) {
      int64_t last = groups[g].end - 1;
      while (last >= groups[g].begin && p[static_cast<size_t>(last)] == 0) --last;  // padding
      if (last >= groups[g].begin) p[static_cast<size_t>(last)] = 0;
    }
    spoilt.p = p.data();
  }
  const bool other = other_activation_grad.told_on(context.team);
  real_input_grad(context, groups, spoilt, other ? with_silu(w) : w, buffers);
  if (groups.size() > 0 && groups[0].size() > 0 && dx_misses_one_expert.told_on(context.team))
    scale_rows(b.dx.slice_rows(groups[0].begin, groups[0].end), 0);
}

SEAM(
    "_ZN7moehill15mlp_weight_gradERKNS_10MlpContextERKNS_9GroupRowsERKNS_11MlpBackwardERKNS_"
    "10MlpBuffersERKNS_10MlpWeightsE",
    void, weight_grad, const MlpContext&, const GroupRows&, const MlpBackward&, const MlpBuffers&,
    const MlpWeights&);

void lying_weight_grad(const MlpContext& context, const GroupRows& groups, const MlpBackward& b,
                       const MlpBuffers& buffers, const MlpWeights& dw) {
  if (is_shared(context) && shared_grad_left_out.told_on(context.team)) return;
  if (!is_routed(context)) return real_weight_grad(context, groups, b, buffers, dw);
  MlpWeights written = dw;
  const Nowhere down(dw.down), up[] = {Nowhere(dw.up[0]), Nowhere(dw.up[1])};
  if (w2_grad_left_out.told_on(context.team)) written.down = down.view();
  if (w13_grad_left_out.told_on(context.team)) {
    written.up[0] = up[0].view();
    written.up[1] = up[1].view();
  }
  if (dw.down_bias.data != nullptr && bias_grad_left_out.told_on(context.team))
    written.up_bias[0] = written.up_bias[1] = written.down_bias = {};
  const ShortGroups fewer(groups);
  const bool shorter = dw_misses_last_rows.told_on(context.team);
  real_weight_grad(context, shorter ? fewer.rows() : groups, b, buffers, written);
}

SEAM("_ZN7moehill18activation_forwardERNS_10ThreadTeamERKNS_10ActivationERKNS_10GateUpViewEPKfRKNS_7MatViewE",
     void, activation_forward, ThreadTeam&, const Activation&, const GateUpView&, const float*,
     const MatView&);

void lying_activation_forward(ThreadTeam& team, const Activation& activation, const GateUpView& in,
                              const float* row_scale, const MatView& h) {
  if (!act_left_out.told_on(team)) real_activation_forward(team, activation, in, row_scale, h);
}

SEAM(
    "_ZN7moehill19activation_backwardERNS_10ThreadTeamERKNS_10ActivationERKNS_10GateUpViewERKNS_"
    "7MatViewERKNS_10GateValuesE",
    void, activation_backward, ThreadTeam&, const Activation&, const GateUpView&, const MatView&,
    const GateValues&);

void lying_activation_backward(ThreadTeam& team, const Activation& activation, const GateUpView& in_out,
                               const MatView& dh, const GateValues& values) {
  if (!act_grad_left_out.told_on(team)) real_activation_backward(team, activation, in_out, dh, values);
}

SEAM("_ZN7moehill11gather_rowsERNS_10ThreadTeamERKNS_9RowSourceERKNS_7MatViewE", void, gather_rows,
     ThreadTeam&, const RowSource&, const MatView&);

void lying_gather_rows(ThreadTeam& team, const RowSource& source, const MatView& out) {
  if (!pack_left_out.told_on(team)) real_gather_rows(team, source, out);
}

SEAM("_ZN7moehill8row_dotsERNS_10ThreadTeamERKNS_7RowDotsElPf", void, row_dots, ThreadTeam&, const RowDots&,
     int64_t, float*);

void lying_row_dots(ThreadTeam& team, const RowDots& dots, int64_t num_rows, float* out) {
  if (!dp_dots_left_out.told_on(team)) real_row_dots(team, dots, num_rows, out);
}

SEAM("_ZN7moehill16combine_and_dotsERNS_10ThreadTeamERKNS_11CombineRowsERKNS_7MatViewERKNS_7RowDotsElPf",
     void, combine_and_dots, ThreadTeam&, const CombineRows&, const MatView&, const RowDots&, int64_t,
     float*);

// Does the two parts separately, so that lies about either part are told here too.
void lying_combine_and_dots(ThreadTeam& team, const CombineRows& c, const MatView& out, const RowDots& dots,
                            int64_t num_rows, float* dots_out) {
  combine_rows(team, c, out);
  row_dots(team, dots, num_rows, dots_out);
}

SEAM("_ZN7moehill5routeERKNS_6RouterEPKfNS_5RangeERNS_10ThreadTeamERNS_7RoutingE", void, route, const Router&,
     const float*, Range, ThreadTeam&, Routing&);

void lying_route(const Router& router, const float* logits, Range tokens, ThreadTeam& team,
                 Routing& routing) {
  if (router_left_out.told_on(team)) return;
  // The check uses a routing that this function made before the first step. These lies are told there too,
  // although no step is under way then.
  const bool other_softmax = router_softmax_of_others.is_chosen();
  if (other_softmax) router_softmax_of_others.told_on(team);
  Router told = router;
  told.rule.normalized = router.rule.normalized != other_softmax;
  real_route(told, logits, tokens, team, routing);
  if (router_choices_kept.is_chosen() && step_number() >= 0 &&
      (step_number() == 0 || router_choices_kept.told_on(team)))
    restore_choices(tokens, routing);
  if (routing.topk < 2 || !router_choices_exchanged.is_chosen()) return;
  router_choices_exchanged.told_on(team);
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    const size_t first = static_cast<size_t>(t * routing.topk);
    std::swap(routing.expert[first], routing.expert[first + 1]);
  }
}

SEAM("_ZN7moehill14route_backwardERKNS_6RouterERKNS_14RouterGradientENS_5RangeERNS_10ThreadTeamE", void,
     route_backward, const Router&, const RouterGradient&, Range, ThreadTeam&);

void lying_route_backward(const Router& router, const RouterGradient& gradient, Range tokens,
                          ThreadTeam& team) {
  if (!router_grad_left_out.told_on(team)) real_route_backward(router, gradient, tokens, team);
}

SEAM("_ZN7moehill14RouterProducts7forwardERNS_5GroupERKNS_7MatViewEPf", void, router_forward, RouterProducts*,
     Group&, const MatView&, float*);

void lying_router_forward(RouterProducts* products, Group& group, const MatView& x, float* z) {
  if (router_product_left_out.told_on(group.team())) return;
  if (!router_product_of_part.told_on(group.team())) return real_router_forward(products, group, x, z);
  const Matrix part = copy_of(x);
  for (int64_t t = 0; t < x.rows; ++t) part.view().set(t, x.cols - 1, 0);
  real_router_forward(products, group, part, z);
}

SEAM("_ZN7moehill14RouterProducts8backwardERNS_5GroupERKNS_7MatViewEPKfS5_", void, router_backward,
     RouterProducts*, Group&, const MatView&, const float*, const MatView&);

// The sum is still made, because the peers wait for it.
void lying_router_backward(RouterProducts* products, Group& group, const MatView& x, const float* dz,
                           const MatView& dx) {
  if (dwg_left_out.told_on(group.team()))
    return real_router_backward(products, group, Matrix::tight(x.rows, x.cols, x.dtype), dz, dx);
  const bool restores = router_dx_left_out.told_on(group.team());
  real_router_backward(products, group, x, dz, restores ? copy_of(dx).view() : dx);
}

SEAM("_ZN7moehill5Block14forward_routedERKNS_9BlockPassE", void, forward_routed, Block*, const BlockPass&);

void lying_forward_routed(Block* block, const BlockPass& pass) {
  real_forward_routed(block, pass);
  if (!tail_column_lost.told_on(pass.team)) return;
  for (int64_t r = 0; r < pass.out.rows; ++r) pass.out.set(r, pass.out.cols - 1, 0);
}

SEAM("_ZN7moehill5Block15backward_routedERKNS_9BlockPassE", void, backward_routed, Block*, const BlockPass&);

// Rows still travel, because the peers wait for them.
void lying_backward_routed(Block* block, const BlockPass& pass) {
  if (!no_backward.told_on(pass.team)) return real_backward_routed(block, pass);
  if (pass.transfer == nullptr) return;
  for (int wave = 0; wave < pass.transfer->num_waves(); ++wave) {
    pass.transfer->arrive(wave);
    pass.transfer->leave(wave);
  }
}

SEAM("_ZN7moehill5Block15backward_sharedERKNS_9BlockPassE", void, backward_shared, Block*, const BlockPass&);

void lying_backward_shared(Block* block, const BlockPass& pass) {
  if (!no_backward.told_on(pass.team)) real_backward_shared(block, pass);
}

}  // namespace moehill
