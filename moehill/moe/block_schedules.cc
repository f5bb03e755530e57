// This file has the orders in which a device's experts work. All orders give equal results, bit for bit,
// because a product over some rows of a group gives these rows the same values as a product over all rows.
//
//   at once    all rows arrive, then all experts work, then all sums leave
//   recompute  like "at once", but experts work in portions of an eighth of the rows, so that the products
//              before the activation need little memory; backward makes them again. The option
//              expert_by_expert uses this order too, with one expert in each portion, and makes nothing
//              again.
//   waves      experts work wave by wave, as their rows arrive, and sums leave with each wave (RowTransfer)
#include <algorithm>

#include "moehill/kernels/rows.h"
#include "moehill/moe/block.h"

namespace moehill {
namespace {

// Work has what every order needs: the parts of a block, and the pass that runs over it.
struct Work {
  const BlockSpec& spec;
  const BlockPlan& plan;
  BlockScratch& scratch;
  const BlockPass& pass;

  MlpContext mlp(const MlpStages& stages = kRoutedStages) const {
    return {pass.team, *scratch.gemm, pass.listener, stages, spec.left_out};
  }
  bool begins(Stage stage) const { return moehill::begins(pass.listener, spec.left_out, stage); }
  MatView rows_of_plan(const MatView& m) const { return m.slice_rows(0, plan.num_rows()); }
};

// Portion is some experts that go through the MLP together, with their rows of the plan. `groups` counts from
// the first of the rows, and is valid until the next portion is made.
struct Portion {
  Range experts, rows;
  GroupRows groups;
};

Portion portion_of(const Work& w, Range experts) {
  const auto begin = w.plan.offset.begin() + experts.begin, last = begin + experts.size();
  w.scratch.group_offset.clear();
  for (auto it = begin; it <= last; ++it) w.scratch.group_offset.push_back(*it - *begin);
  return {experts, {*begin, *last}, w.scratch.group_offset};
}

template <typename Body>
void for_each_portion(const Work& w, const Body& body) {
  // An eighth of the rows needs little memory compared with the memory that is saved, and is enough work for
  // the team. With a limit of 0 rows each expert is a portion of its own.
  const int64_t rows = w.plan.num_rows();
  const int64_t max_rows = w.spec.options.expert_by_expert ? 0 : w.spec.recomputes() ? rows / 8 : rows;
  for (int begin = 0, end = 0; begin < w.spec.num_experts(); begin = end) {
    end = w.plan.end_of_portion(begin, max_rows);
    body(portion_of(w, {begin, end}));
  }
}

RowSource source_x(const Work& w, Range rows) {
  if (w.spec.packs_rows()) return {w.scratch.packed_x.slice_rows(rows.begin, rows.end)};
  return {w.pass.x, w.plan.source_row.data() + rows.begin};
}

MlpForward forward_step(const Work& w, Range rows) {
  const float* p = w.plan.row_p.data() + rows.begin;
  return {source_x(w, rows), has_preweight(w.spec.options.impl) ? p : nullptr, w.spec.keeps_products(),
          w.spec.input_weighted() ? p : nullptr};
}

MlpBackward backward_step(const Work& w, Range rows) {
  const RowSource dy = w.spec.gathers_and_fuses()
                           ? RowSource{w.pass.y, w.plan.source_row.data() + rows.begin, w.pass.dy_scale}
                           : RowSource{w.scratch.packed_dy.slice_rows(rows.begin, rows.end)};
  const float* p = w.plan.row_p.data() + rows.begin;
  const bool of_inputs = w.spec.input_weighted();
  return {.x = source_x(w, rows),
          .dy = dy,
          .p = of_inputs ? nullptr : p,
          .dp = w.spec.dp_from_outputs() ? nullptr : w.pass.dp,
          .dp_index = w.plan.dp_index.data() + rows.begin,
          .dx = w.scratch.dx_rows.slice_rows(rows.begin, rows.end),
          .x_scale = of_inputs ? p : nullptr};
}

// Describes the sums for some rows of the result. `weight` has the factor of each assignment; null means 1.
CombineRows combined(const Work& w, Range part, const MatView& rows, const float* weight) {
  const BlockPass& pass = w.pass;
  const int topk = w.spec.shape.topk;
  const int32_t* const token_of = pass.transfer == nullptr ? nullptr : pass.transfer->token_of;
  const int64_t first = token_of != nullptr ? 0 : part.begin * topk;  // number of the first assignment
  return {rows,
          w.plan.routes.assignment_row.data() + first,
          weight == nullptr ? nullptr : weight + first,
          topk,
          pass.base.data == nullptr ? pass.base : pass.base.slice_rows(part.begin, part.end),
          token_of == nullptr ? nullptr : token_of + part.begin};
}

// Computes out = base + sums for some rows of the result. Scatter-add always makes all rows.
void add_up(const Work& w, std::span<const Range> out_rows, const MatView& rows, const float* weight) {
  const BlockPass& pass = w.pass;
  const RoutingPlan& routes = w.plan.routes;
  if (has_scatter(w.spec.options.impl)) {
    const MatView sum = pass.out.dtype == DType::f32 ? pass.out : w.scratch.sum.slice_rows(0, pass.out.rows);
    return scatter_rows(pass.team,
                        {rows, routes.row_token.data(), routes.row_assignment.data(), weight, pass.base}, sum,
                        pass.out);
  }
  for (const Range all : out_rows) {
    const Range part{all.begin, std::min(all.end, pass.out.rows)};
    if (part.begin >= part.end) continue;
    combine_rows(pass.team, combined(w, part, rows, weight), pass.out.slice_rows(part.begin, part.end));
  }
}

void combine_y(const Work& w, std::span<const Range> out_rows) {
  if (!w.begins(Stage::combine)) return;
  // If gate values multiplied h or x already, the sums must not multiply by them again.
  const bool weighted = has_preweight(w.spec.options.impl) || w.spec.input_weighted();
  add_up(w, out_rows, w.rows_of_plan(w.scratch.expert_out), weighted ? nullptr : w.plan.assignment_p.data());
}

void combine_dx(const Work& w, std::span<const Range> out_rows) {
  if (!w.begins(Stage::combine_grad)) return;
  add_up(w, out_rows, w.rows_of_plan(w.scratch.dx_rows),
         w.spec.input_weighted() ? w.plan.assignment_p.data() : nullptr);
}

void all_arrive(const Work& w) {
  if (w.pass.transfer != nullptr) w.pass.transfer->arrive(w.pass.transfer->num_waves() - 1);
}

template <typename Combine>
void all_leave(const Work& w, const Combine& combine) {
  const Range all{0, w.pass.out.rows};
  combine(w, {&all, 1});
  if (w.pass.transfer != nullptr) w.pass.transfer->leave(w.pass.transfer->num_waves() - 1);
}

// Lets all experts work at once, or in portions if backward recomputes or if the option expert_by_expert is
// set.
void forward_at_once(const Work& w) {
  all_arrive(w);
  for_each_portion(w, [&](const Portion& p) {
    const MlpWeights weights = w.pass.weights.routed.slice_groups(p.experts.begin, p.experts.end);
    const MlpBuffers buffers = w.scratch.buffers(w.spec, p.rows);
    const MlpForward step = forward_step(w, p.rows);
    mlp_up(w.mlp(), p.groups, step, weights, buffers);
    mlp_down(w.mlp(), p.groups,
             {buffers.h, w.scratch.expert_out.slice_rows(p.rows.begin, p.rows.end), step.row_scale}, weights);
  });
  all_leave(w, combine_y);
}

// This function and the next two need rows of dy, which are rows of y times dy_scale: for dp from the outputs
// of the experts, and for packed rows of dy.
RowDots dp_dots(const Work& w) {
  return {w.scratch.expert_out, w.pass.y, w.plan.source_row.data(), w.plan.dp_index.data(), w.pass.dy_scale};
}
void make_dp(const Work& w) {
  if (!w.spec.dp_from_outputs() || !w.begins(Stage::combine_grad)) return;
  row_dots(w.pass.team, dp_dots(w), w.plan.num_rows(), w.pass.dp);
}
void pack_dy(const Work& w) {
  if (w.spec.gathers_and_fuses() || !w.begins(Stage::pack_grad)) return;
  gather_rows(w.pass.team, {w.pass.y, w.plan.source_row.data(), w.pass.dy_scale},
              w.rows_of_plan(w.scratch.packed_dy));
}

// Sums dx and makes dp at the end of a backward pass, by one call to the team if possible.
void combine_dx_and_dp(const Work& w, std::span<const Range> out_rows) {
  const BlockPass& pass = w.pass;
  if (!w.spec.dp_from_outputs() || has_scatter(w.spec.options.impl)) {
    make_dp(w);
    return combine_dx(w, out_rows);
  }
  if (!w.begins(Stage::combine_grad)) return;
  combine_and_dots(pass.team, combined(w, {0, pass.out.rows}, w.rows_of_plan(w.scratch.dx_rows), nullptr),
                   pass.out, dp_dots(w), w.plan.num_rows(), pass.dp);
}

// The weights' gradients come last, because no other device waits for them.
void backward_at_once(const Work& w) {
  all_arrive(w);
  pack_dy(w);
  const Range all{0, w.plan.num_rows()};
  const MlpBackward step = backward_step(w, all);
  const MlpBuffers buffers = w.scratch.buffers(w.spec, all);
  mlp_down_grad(w.mlp(), w.plan.offset, step, w.pass.weights.routed, buffers);
  mlp_input_grad(w.mlp(), w.plan.offset, step, w.pass.weights.routed, buffers);
  all_leave(w, combine_dx_and_dp);
  mlp_weight_grad(w.mlp(), w.plan.offset, step, buffers, w.pass.weights.routed_grad);
}

// Each portion makes its products again if forward did not keep them. It also makes its gradients of the
// weights before the next portion takes over its buffers.
void backward_recompute(const Work& w) {
  all_arrive(w);
  pack_dy(w);
  for_each_portion(w, [&](const Portion& p) {
    const MlpWeights weights = w.pass.weights.routed.slice_groups(p.experts.begin, p.experts.end);
    const MlpBuffers buffers = w.scratch.buffers(w.spec, p.rows);
    const MlpBackward step = backward_step(w, p.rows);
    if (w.spec.recomputes())
      mlp_up(w.mlp(kRecomputeStages), p.groups, {step.x, nullptr, true, step.x_scale}, weights, buffers);
    mlp_down_grad(w.mlp(), p.groups, step, weights, buffers);
    mlp_input_grad(w.mlp(), p.groups, step, weights, buffers);
    mlp_weight_grad(w.mlp(), p.groups, step, buffers,
                    w.pass.weights.routed_grad.slice_groups(p.experts.begin, p.experts.end));
  });
  all_leave(w, combine_dx_and_dp);
}

// The functions from here on work in waves. A product takes all rows of a wave together, so that it reads the
// weights once. They split the rows of a wave only where the team would have to wait: they multiply the own
// rows of later waves before the other rows arrive, and the own rows of the last wave while its sums travel.
// They never split the weights' gradients, which are sums over rows.

Range experts_of(const Work& w, int wave) {
  const std::span<const int64_t> experts = w.pass.transfer->experts;
  if (experts.empty()) return {0, w.spec.num_experts()};
  return {experts[static_cast<size_t>(wave)], experts[static_cast<size_t>(wave) + 1]};
}

// Returns the rows that these tokens have at these experts, as rows of the whole plan. The result is valid
// until the next call. Rows of padding, at the end of a group, count as rows of the last token.
GroupRows rows_of(const Work& w, Range tokens, Range experts) {
  const std::vector<int64_t>& offset = w.plan.offset;
  const auto first_row = [&](size_t e, int64_t token) {
    const auto rows = w.plan.routes.row_token.begin();
    if (token == w.spec.shape.tokens) return offset[e + 1];
    return std::partition_point(rows + offset[e], rows + offset[e + 1],
                                [&](int32_t t) { return t >= 0 && t < token; }) -
           rows;
  };
  std::copy_n(offset.begin(), w.scratch.part_begin.size(), w.scratch.part_begin.begin());
  w.scratch.part_end = w.scratch.part_begin;
  for (int64_t i = experts.begin; i < experts.end; ++i) {
    const size_t e = static_cast<size_t>(i);
    w.scratch.part_begin[e] = first_row(e, tokens.begin);
    w.scratch.part_end[e] = first_row(e, tokens.end);
  }
  return {w.scratch.part_begin, w.scratch.part_end};
}

GroupRows own_rows(const Work& w, int wave) { return rows_of(w, w.pass.transfer->own, experts_of(w, wave)); }

// Calls body(rows) for the rows of a wave: the rows of all tokens, or of all tokens except the device's own.
template <typename Body>
void for_rows(const Work& w, int wave, bool own_too, const Body& body) {
  const Range experts = experts_of(w, wave), own = w.pass.transfer->own;
  const int64_t tokens = w.spec.shape.tokens;
  if (own_too) return body(rows_of(w, {0, tokens}, experts));
  body(rows_of(w, {0, own.begin}, experts));
  body(rows_of(w, {own.end, tokens}, experts));
}

void forward_in_waves(const Work& w) {
  RowTransfer& transfer = *w.pass.transfer;
  const MlpWeights& weights = w.pass.weights.routed;
  const Range all{0, w.plan.num_rows()};
  const MlpForward step = forward_step(w, all);
  const MlpBuffers buffers = w.scratch.buffers(w.spec, all);
  const MatView expert_out = w.rows_of_plan(w.scratch.expert_out);
  const auto up = [&](const GroupRows& rows) { mlp_up(w.mlp(), rows, step, weights, buffers); };
  const auto down = [&](const GroupRows& rows) {
    mlp_down(w.mlp(), rows, {buffers.h, expert_out, step.row_scale}, weights);
  };
  const int last = transfer.num_waves() - 1;
  int num_ahead = 0;  // number of waves whose own rows are in h already
  for (int wave = 0; wave <= last; ++wave) {
    // While the rows of this wave have not arrived, the team multiplies the own rows of this wave and of
    // later ones.
    while (num_ahead <= last && !transfer.has_arrived(wave)) up(own_rows(w, num_ahead++));
    transfer.arrive(wave);
    // The last wave sends the other devices' sums first, and multiplies its own rows while they travel.
    const bool own_too = wave < last;
    for_rows(w, wave, own_too && wave >= num_ahead, up);
    for_rows(w, wave, own_too, down);
    if (own_too) num_ahead = std::max(num_ahead, wave + 1);
    combine_y(w, transfer.leaving_with(wave));
    transfer.leave(wave);
  }
  // If the team did not get ahead to the last wave, its own rows are not in h yet.
  if (num_ahead == last) up(own_rows(w, last));
  down(own_rows(w, last));
  combine_y(w, {&transfer.own, 1});
}

// Only the first product can begin before a wave has arrived. make_dp() and the gradients of the weights come
// last, because no other device waits for them.
void backward_in_waves(const Work& w) {
  RowTransfer& transfer = *w.pass.transfer;
  const MlpWeights& weights = w.pass.weights.routed;
  const Range all{0, w.plan.num_rows()};
  const MlpBackward step = backward_step(w, all);
  const MlpBuffers buffers = w.scratch.buffers(w.spec, all);
  const auto down_grad = [&](const GroupRows& rows) { mlp_down_grad(w.mlp(), rows, step, weights, buffers); };
  const int num_waves = transfer.num_waves();
  int num_ahead = 0;
  for (int wave = 0; wave < num_waves; ++wave) {
    while (num_ahead < num_waves && !transfer.has_arrived(wave)) down_grad(own_rows(w, num_ahead++));
    transfer.arrive(wave);
    for_rows(w, wave, wave >= num_ahead, down_grad);
    num_ahead = std::max(num_ahead, wave + 1);
    const Portion p = portion_of(w, experts_of(w, wave));
    mlp_input_grad(w.mlp(), p.groups, backward_step(w, p.rows),
                   weights.slice_groups(p.experts.begin, p.experts.end), w.scratch.buffers(w.spec, p.rows));
    combine_dx(w, transfer.leaving_with(wave));
    transfer.leave(wave);
  }
  combine_dx(w, {&transfer.own, 1});
  make_dp(w);
  mlp_weight_grad(w.mlp(), w.plan.offset, step, buffers, w.pass.weights.routed_grad);
}

bool in_waves(const Work& w) {
  return w.pass.transfer != nullptr && w.pass.transfer->split && w.spec.num_experts() > 0 &&
         w.spec.can_split_rows();
}

}  // namespace

void Block::forward_routed(const BlockPass& pass) {
  const Work work{spec_, plan_, scratch_, pass};
  in_waves(work) ? forward_in_waves(work) : forward_at_once(work);
}

void Block::backward_routed(const BlockPass& pass) {
  const Work work{spec_, plan_, scratch_, pass};
  if (in_waves(work)) return backward_in_waves(work);
  // A device without experts has no portion, so backward_recompute() calls no product with zero groups.
  const bool portions = spec_.recomputes() || spec_.options.expert_by_expert || spec_.num_experts() == 0;
  portions ? backward_recompute(work) : backward_at_once(work);
}

}  // namespace moehill
