// Block's passes where rows are still on their way and sums are wanted early: the experts go in waves, in the
// order in which their rows arrive. A product over some of a group's rows gives the bits of that over all; it
// reads the weights once more. So rows are cut only where there is nothing else to do: the own rows of waves
// that have not arrived yet go ahead, and those of the last wave stay behind while its sums travel. The
// weights' gradients, which are sums over rows, are never cut.
#include <algorithm>

#include "moehill/kernels/rows.h"
#include "moehill/moe/block.h"

namespace moehill {

// Scatter-add has no order of tokens, and neither have rows sorted by gate value.
bool Block::has_split_form() const {
  return !recomputes() && !options_.expert_by_expert && gemm_->gathers_and_fuses() && !packs_rows() &&
         has_fused_w13(options_.impl) && !has_scatter(options_.impl) &&
         options_.pack != PackStrategy::expert_score_sort && share_.scope == PlanScope::local;
}

// Rows of padding, at the end of a group, belong to the last token.
GroupRows Block::rows_of(Range tokens, Range experts) {
  const auto first_row = [&](size_t e, int64_t token) {
    const auto begin = plan_.row_token.begin() + offset_[e], end = plan_.row_token.begin() + offset_[e + 1];
    if (token == shape_.tokens) return offset_[e + 1];
    return std::partition_point(begin, end, [&](int32_t t) { return t >= 0 && t < token; }) -
           plan_.row_token.begin();
  };
  std::copy_n(offset_.begin(), part_begin_.size(), part_begin_.begin());
  part_end_ = part_begin_;
  for (int64_t i = experts.begin; i < experts.end; ++i) {
    const size_t e = static_cast<size_t>(i);
    part_begin_[e] = first_row(e, tokens.begin);
    part_end_[e] = first_row(e, tokens.end);
  }
  return {part_begin_, part_end_};
}

std::pair<Range, Range> Block::take_wave(const Underway& underway, int wave) {
  const size_t w = static_cast<size_t>(wave);
  const Range experts = underway.experts.empty() ? Range{0, num_experts()}
                                                 : Range{underway.experts[w], underway.experts[w + 1]};
  const auto begin = offset_.begin() + experts.begin;
  wave_offset_.resize(static_cast<size_t>(experts.size()) + 1);
  for (size_t e = 0; e < wave_offset_.size(); ++e) wave_offset_[e] = begin[static_cast<int64_t>(e)] - *begin;
  return {experts, {*begin, begin[experts.size()]}};
}

template <typename Body>
void Block::for_rows(const Underway& underway, int wave, bool own_too, const Body& body) {
  const Range experts = take_wave(underway, wave).first;
  if (own_too) return body(rows_of({0, shape_.tokens}, experts));
  body(rows_of({0, underway.own.begin}, experts));
  body(rows_of({underway.own.end, shape_.tokens}, experts));
}

void Block::combine(ThreadTeam& team, const Underway& underway, std::span<const Range> out_rows,
                    const MatView& rows, const float* weight, const MatView& base, const MatView& out) {
  for (const Range all : out_rows) {
    const Range part{all.begin, std::min(all.end, out.rows)};
    if (part.begin >= part.end) continue;
    const bool moved = underway.token_of != nullptr;
    const int64_t first = moved ? 0 : part.begin * shape_.topk;  // of the assignments
    combine_rows(team,
                 {rows, plan_.assignment_row.data() + first, weight == nullptr ? nullptr : weight + first,
                  shape_.topk, base.data == nullptr ? base : base.slice_rows(part.begin, part.end),
                  moved ? underway.token_of + part.begin : nullptr},
                 out.slice_rows(part.begin, part.end));
  }
}

void Block::forward_split(ThreadTeam& team, const BlockOperands& operands, const MatView& base,
                          const MatView& out, StageListener* listener, const Underway& underway) {
  const Range all{0, num_rows()};
  const MatView expert_out = buffers_.expert_out.slice_rows(0, all.end);
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  const MlpBuffers buffers = wave_buffers(all);
  const auto up = [&](const GroupRows& rows) {
    mlp_up(context, rows, wave_x(operands.x, all), operands.experts, buffers,
           options_.pass == Pass::forward_backward, wave_scale(all));
  };
  const auto down = [&](const GroupRows& rows) {
    mlp_down(context, rows, operands.experts, buffers.h, expert_out);
  };
  const auto own_rows = [&](int wave) { return rows_of(underway.own, take_wave(underway, wave).first); };
  const auto sum = [&](std::span<const Range> out_rows) {
    enter(listener, Stage::combine);
    combine(team, underway, out_rows, expert_out,
            has_preweight(options_.impl) ? nullptr : assignment_p_.data(), base, out);
  };
  const int last = underway.num_waves() - 1;
  int num_ahead = 0;  // waves whose own rows are in h
  for (int wave = 0; wave <= last; ++wave) {
    while (num_ahead <= last && !underway.has_arrived(wave)) up(own_rows(num_ahead++));
    underway.arrive(wave);
    const bool own_too = wave < last;
    for_rows(underway, wave, own_too && wave >= num_ahead, up);
    for_rows(underway, wave, own_too, down);
    if (own_too) num_ahead = std::max(num_ahead, wave + 1);
    sum(underway.leaving_with(wave));
    underway.leave(wave);
  }
  if (num_ahead == last) up(own_rows(last));
  down(own_rows(last));
  sum({&underway.own, 1});
}

// The first product alone can begin before a wave is there. Weights' gradients, which nobody waits for, come
// last.
void Block::backward_split(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                           const MatView& base, const MatView& dx, float* dp, StageListener* listener,
                           const Underway& underway) {
  const Range all{0, num_rows()};
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  const MlpBuffers buffers = wave_buffers(all);
  const MlpBackward step = backward_step(operands, y, dy_scale, dp, all);
  const auto down_grad = [&](const GroupRows& rows) {
    mlp_down_grad(context, rows, step, operands.experts, buffers);
  };
  const auto sum = [&](std::span<const Range> out_rows) {
    enter(listener, Stage::combine_grad);
    combine(team, underway, out_rows, step.dx, nullptr, base, dx);
  };
  const int num_waves = underway.num_waves();
  int num_ahead = 0;
  for (int wave = 0; wave < num_waves; ++wave) {
    while (num_ahead < num_waves && !underway.has_arrived(wave))
      down_grad(rows_of(underway.own, take_wave(underway, num_ahead++).first));
    underway.arrive(wave);
    for_rows(underway, wave, wave >= num_ahead, down_grad);
    num_ahead = std::max(num_ahead, wave + 1);
    const auto [experts, rows] = take_wave(underway, wave);
    mlp_input_grad(context, wave_offset_, backward_step(operands, y, dy_scale, dp, rows),
                   operands.experts.slice_groups(experts.begin, experts.end), wave_buffers(rows));
    sum(underway.leaving_with(wave));
    underway.leave(wave);
  }
  sum({&underway.own, 1});
  take_up_dy(team, y, dy_scale, dp, listener);
  mlp_weight_grad(context, offset_, step, buffers, operands.experts_grad);
}

}  // namespace moehill
