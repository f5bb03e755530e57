// Block's passes where all experts' rows go through the MLP together, and products of the own tokens' rows
// apart from the rest, for rows that are still on their way and sums that are wanted early. A product over
// some of a group's rows gives the bits of that over all; it reads the weights once more. So one product is
// cut a pass, and the weights' gradients, which are sums over rows, never.
#include <algorithm>

#include "moehill/kernels/rows.h"
#include "moehill/moe/block.h"

namespace moehill {

// Scatter-add has no order of tokens, and neither have rows sorted by gate value; a planted fault may break
// the order.
bool Block::can_split() const {
  return is_one_wave() && gemm_->gathers_and_fuses() && !packs_rows() && has_fused_w13(options_.impl) &&
         !has_scatter(options_.impl) && options_.pack != PackStrategy::expert_score_sort &&
         share_.scope == PlanScope::local && options_.fault == Fault::none;
}

// Rows of padding, at the end of a group, belong to the last token.
GroupRows Block::rows_of(Range tokens) {
  const auto first_row = [&](size_t e, int64_t token) {
    const auto begin = plan_.row_token.begin() + offset_[e], end = plan_.row_token.begin() + offset_[e + 1];
    if (token == shape_.tokens) return offset_[e + 1];
    return std::partition_point(begin, end, [&](int32_t t) { return t >= 0 && t < token; }) -
           plan_.row_token.begin();
  };
  for (size_t e = 0; e < part_begin_.size(); ++e) {
    part_begin_[e] = first_row(e, tokens.begin);
    part_end_[e] = first_row(e, tokens.end);
  }
  return {part_begin_, part_end_};
}

void Block::combine(ThreadTeam& team, Range tokens, const MatView& rows, const float* weight,
                    const MatView& base, const MatView& out) {
  const int64_t first = tokens.begin * shape_.topk;
  const MatView part = base.data == nullptr ? base : base.slice_rows(tokens.begin, tokens.end);
  combine_rows(team,
               {rows, plan_.assignment_row.data() + first, weight == nullptr ? nullptr : weight + first,
                shape_.topk, part},
               out.slice_rows(tokens.begin, tokens.end));
}

// The up-projection begins with the own tokens, the down-projection ends with them.
void Block::forward_split(ThreadTeam& team, const BlockOperands& operands, const MatView& base,
                          const MatView& out, StageListener* listener, const Underway& underway) {
  const Range all{0, num_rows()}, own = underway.own;
  const Range others[] = {{0, own.begin}, {own.end, shape_.tokens}};
  const MatView expert_out = buffers_.expert_out.slice_rows(0, all.end);
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  const MlpBuffers buffers = wave_buffers(all);
  const auto up = [&](Range tokens) {
    mlp_up(context, rows_of(tokens), wave_x(operands.x, all), operands.experts, buffers,
           options_.pass == Pass::forward_backward, wave_scale(all));
  };
  const auto down = [&](Range tokens) {
    mlp_down(context, rows_of(tokens), operands.experts, buffers.h, expert_out);
    enter(listener, Stage::combine);
    const float* const weight = has_preweight(options_.impl) ? nullptr : assignment_p_.data();
    combine(team, {tokens.begin, std::min(tokens.end, out.rows)}, expert_out, weight, base, out);
  };
  up(own);
  underway.arrive();
  for (const Range tokens : others) up(tokens);
  for (const Range tokens : others) down(tokens);
  underway.leave();
  down(own);
}

// The first product begins with the own tokens; the weights' gradients, which nobody waits for, come last.
void Block::backward_at_once(ThreadTeam& team, const BlockOperands& operands, const MatView& y,
                             float dy_scale, const MatView& base, const MatView& dx, float* dp,
                             StageListener* listener, const Underway& underway) {
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  const MlpBuffers buffers = wave_buffers({0, num_rows()});
  const MlpBackward step = backward_step(operands, y, dy_scale, dp, {0, num_rows()});
  const auto down_grad = [&](const GroupRows& rows) {
    mlp_down_grad(context, rows, step, operands.experts, buffers);
  };
  if (underway.split && can_split()) {
    down_grad(rows_of(underway.own));
    underway.arrive();
    down_grad(rows_of({0, underway.own.begin}));
    down_grad(rows_of({underway.own.end, shape_.tokens}));
    take_up_dy(team, y, dy_scale, dp, listener);
  } else {
    underway.arrive();
    take_up_dy(team, y, dy_scale, dp, listener);
    down_grad(offset_);
  }
  mlp_input_grad(context, offset_, step, operands.experts, buffers);
  combine_dx(team, base, dx, listener);
  underway.leave();
  mlp_weight_grad(context, offset_, step, buffers, operands.experts_grad);
}

}  // namespace moehill
