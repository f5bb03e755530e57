#include "moehill/moe/block.h"

#include <algorithm>

#include "moehill/kernels/rows.h"

namespace moehill {
namespace {

std::unique_ptr<GroupedGemm> make_backend(Backend backend, const GemmLimits& limits) {
  return backend == Backend::gmm ? make_gmm(limits) : make_ragged_dot(limits);
}

MlpBuffers lay_out_mlp(Scratch& scratch, int64_t rows, int64_t width, bool fused, bool products,
                       DType dtype) {
  MlpBuffers buffers;
  if (products) {
    buffers.gate = scratch.matrix(rows, fused ? gate_up_columns(width) : width, dtype);
    if (!fused) buffers.up = scratch.matrix(rows, width, dtype);
  }
  buffers.h = scratch.matrix(rows, width, dtype);
  return buffers;
}

}  // namespace

Block::Block(const MoeShape& shape, const BlockOptions& options, const BlockShare& share, int num_threads)
    : shape_(shape),
      options_(options),
      share_(share),
      builder_(shape.tokens, shape.experts, shape.topk, share.expert_begin, share.expert_end, options.pack,
               options.capacity, share.scope, num_threads),
      plan_(builder_.make_plan()) {
  const int64_t rows = builder_.max_rows();
  row_p_.resize(static_cast<size_t>(rows));
  dp_index_.resize(static_cast<size_t>(rows));
  assignment_p_.resize(static_cast<size_t>(shape.assignments()));
  offset_.resize(static_cast<size_t>(num_experts()) + 1);
  wave_offset_.reserve(offset_.size());
  part_begin_.resize(offset_.size() - 1);
  part_end_.resize(offset_.size() - 1);
  shared_offset_[1] = share.shared_tokens.size();
  gemm_ = make_backend(options.backend, gemm_limits(shape, options, share, rows, num_threads));
  if (options.part == StepPart::communication) gemm_ = make_no_gemm(std::move(gemm_));
  // Laid out for the most rows a plan can have; what a plan does not use is never touched and takes no
  // memory.
  Scratch measure;
  lay_out(measure, shape, options, share, rows, rows);
  scratch_ = Scratch(measure.peak_bytes());
  buffers_ = lay_out(scratch_, shape, options, share, rows, rows);
}

GemmLimits Block::gemm_limits(const MoeShape& shape, const BlockOptions& options, const BlockShare& share,
                              int64_t rows, int num_threads) {
  const int64_t width = std::max(gate_up_columns(shape.mlp_dim), gate_up_columns(shape.shared_dim));
  GemmLimits limits;
  limits.max_groups = std::max(1, share.expert_end - share.expert_begin);
  limits.max_rows = std::max({int64_t{1}, rows, shape.shared_dim > 0 ? share.shared_tokens.size() : 0});
  limits.max_depth = std::max(shape.hidden, width);
  limits.max_matrix = shape.hidden * width;
  limits.num_threads = num_threads;
  limits.blocks = options.blocks;
  return limits;
}

// What is kept from forward to backward, by remat mode:
//   none        products and expert outputs; dx rows have a place of their own
//   combine     products; dx rows lie over the expert outputs, and dp comes from <dh, h>
//   expert_mlp  expert outputs; products exist for one wave of experts at a time, over the shared expert's
Block::Buffers Block::lay_out(Scratch& scratch, const MoeShape& shape, const BlockOptions& options,
                              const BlockShare& share, int64_t rows, int64_t wave_rows) {
  Buffers b;
  const bool backward = options.pass == Pass::forward_backward;
  const bool waves = options.remat == Remat::expert_mlp;
  const bool ragged = options.backend == Backend::ragged_dot;
  const DType dtype = shape.dtype;
  b.expert_out = scratch.matrix(rows, shape.hidden, dtype);
  if (backward)
    b.dx_rows = options.remat == Remat::combine ? b.expert_out : scratch.matrix(rows, shape.hidden, dtype);
  if (ragged || options.prequeue) b.packed_x = scratch.matrix(rows, shape.hidden, dtype);
  if (ragged && backward) b.packed_dy = scratch.matrix(rows, shape.hidden, dtype);
  if (has_scatter(options.impl)) b.sum = scratch.matrix(shape.tokens, shape.hidden, DType::f32);

  const bool fused = has_fused_w13(options.impl);
  const size_t mark = scratch.mark();
  b.routed = lay_out_mlp(scratch, waves ? wave_rows : rows, shape.mlp_dim, fused,
                         backward || ragged || !fused, dtype);
  if (waves) scratch.rewind(mark);
  if (shape.shared_dim > 0) {
    b.shared = lay_out_mlp(scratch, share.shared_tokens.size(), shape.shared_dim, options.shared_fused,
                           backward || ragged || !options.shared_fused, dtype);
  }
  return b;
}

double Block::scratch_bytes(const MoeShape& shape, const BlockOptions& options, const BlockShare& share,
                            int num_threads, int64_t rows, int64_t wave_rows) {
  Scratch measure;
  lay_out(measure, shape, options, share, rows, wave_rows);
  const GemmLimits limits = gemm_limits(shape, options, share, rows, num_threads);
  const size_t gemm =
      options.backend == Backend::gmm ? gmm_workspace_bytes(limits) : ragged_dot_workspace_bytes(limits);
  const double integers =
      4.0 * static_cast<double>(shape.assignments() * 4 + rows * 4);  // plan and gate values
  return static_cast<double>(measure.peak_bytes() + gemm) + integers;
}

void Block::read_rows_at(const int32_t* rows) {
  token_rows_ = rows;
  source_row_.resize(row_p_.size());
}

const int32_t* Block::source_row() const {
  return token_rows_ == nullptr ? plan_.row_token.data() : source_row_.data();
}

void Block::make_plan(ThreadTeam& team, const Routing& routing) {
  builder_.build(routing, team, plan_);
  const size_t experts = static_cast<size_t>(num_experts());
  std::copy(plan_.group_offset.begin(), plan_.group_offset.begin() + static_cast<int64_t>(experts) + 1,
            offset_.begin());
  // Masked rows run with the last expert's weights and count for nothing; a device without experts has
  // nothing to run them with.
  const int64_t kept_rows = offset_[experts];
  if (experts > 0) offset_[experts] = plan_.num_rows();
  team.parallel_for(plan_.num_rows(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int32_t assignment = r < kept_rows ? plan_.row_assignment[static_cast<size_t>(r)] : -1;
      dp_index_[static_cast<size_t>(r)] = assignment;
      row_p_[static_cast<size_t>(r)] =
          assignment < 0 ? 0.0f : routing.weight[static_cast<size_t>(assignment)];
    }
  });
  team.parallel_for(shape_.assignments(), [&](int64_t begin, int64_t end) {
    for (int64_t a = begin; a < end; ++a) {
      const int32_t row = plan_.assignment_row[static_cast<size_t>(a)];
      const bool mine = row >= 0 && row < kept_rows;
      assignment_p_[static_cast<size_t>(a)] = mine ? routing.weight[static_cast<size_t>(a)] : 0.0f;
    }
  });
  if (token_rows_ == nullptr) return;
  team.parallel_for(plan_.num_rows(), [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      const int32_t token = plan_.row_token[static_cast<size_t>(r)];
      source_row_[static_cast<size_t>(r)] = token < 0 ? -1 : token_rows_[token];
    }
  });
}

void Block::pack_rows(ThreadTeam& team, const MatView& x) {
  if (!packs_rows()) return;
  gather_rows(team, {x, source_row()}, buffers_.packed_x.slice_rows(0, plan_.num_rows()));
}

template <typename Body>
void Block::for_each_wave(const Body& body) {
  // An eighth of the rows at a time, or one expert if that has more: small next to what is saved, large
  // enough for the team.
  const int64_t wave_rows = options_.expert_by_expert ? 0 : recomputes() ? num_rows() / 8 : num_rows();
  for (int begin = 0; begin < num_experts();) {
    int end = begin + 1;
    const auto rows_to = [&](int e) {
      return offset_[static_cast<size_t>(e)] - offset_[static_cast<size_t>(begin)];
    };
    while (end < num_experts() && rows_to(end + 1) <= wave_rows) ++end;
    wave_offset_.clear();
    for (int e = begin; e <= end; ++e) wave_offset_.push_back(rows_to(e));
    body(Range{begin, end}, Range{offset_[static_cast<size_t>(begin)], offset_[static_cast<size_t>(end)]});
    begin = end;
  }
}

MlpBuffers Block::wave_buffers(Range rows) const {
  return recomputes() ? buffers_.routed.slice_rows(0, rows.size())
                      : buffers_.routed.slice_rows(rows.begin, rows.end);
}

RowSource Block::wave_x(const MatView& x, Range rows) const {
  if (packs_rows()) return {buffers_.packed_x.slice_rows(rows.begin, rows.end)};
  return {x, source_row() + rows.begin};
}

const float* Block::wave_scale(Range rows) const {
  return has_preweight(options_.impl) ? row_p_.data() + rows.begin : nullptr;
}

void Block::spoil_work_space(const MemoryVisitor& spoil) {
  const int64_t rows = num_rows();
  int64_t wave_rows = rows;  // rows that are in use of what each wave uses again
  if (recomputes()) {
    wave_rows = 0;
    for_each_wave([&](Range, Range wave) { wave_rows = std::max(wave_rows, wave.size()); });
  }
  const auto visit_rows = [&](const MatView& m, int64_t n) {
    if (m.data != nullptr) visit_matrix(m.slice_rows(0, n), spoil);
  };
  for (const MatView* m : {&buffers_.expert_out, &buffers_.dx_rows, &buffers_.packed_dy})
    visit_rows(*m, rows);
  for (const MatView* m : {&buffers_.routed.gate, &buffers_.routed.up, &buffers_.routed.h})
    visit_rows(*m, wave_rows);
  for (const MatView* m : {&buffers_.sum, &buffers_.shared.gate, &buffers_.shared.up, &buffers_.shared.h})
    visit_matrix(*m, spoil);
  if (options_.prequeue) return;
  visit_rows(buffers_.packed_x, rows);
  if (plan_.num_rows() == 0) return;
  visit_vector(row_p_, spoil);
  visit_vector(assignment_p_, spoil);
  for (std::vector<int32_t>* of :
       {&plan_.row_token, &plan_.row_assignment, &plan_.assignment_row, &dp_index_, &source_row_})
    visit_vector(*of, spoil);
}

void Block::combine(ThreadTeam& team, const MatView& rows, const float* weight, const MatView& base,
                    const MatView& out) {
  if (has_scatter(options_.impl)) {
    const ScatterRows scatter{rows, plan_.row_token.data(), plan_.row_assignment.data(), weight, base};
    scatter_rows(team, scatter, out.dtype == DType::f32 ? out : buffers_.sum.slice_rows(0, out.rows), out);
  } else {
    combine_rows(team, {rows, plan_.assignment_row.data(), weight, shape_.topk, base}, out);
  }
}

bool Block::is_one_wave() const { return num_experts() > 0 && !recomputes() && !options_.expert_by_expert; }

void Block::forward_shared(ThreadTeam& team, const BlockOperands& operands, const MatView& out,
                           StageListener* listener) {
  const bool keep = options_.pass == Pass::forward_backward && !recomputes();
  const MlpContext context{team, *gemm_, listener, kSharedStages};
  const RowSource x{operands.x.slice_rows(share_.shared_tokens.begin, share_.shared_tokens.end)};
  mlp_up(context, shared_offset_, x, operands.shared, buffers_.shared, keep, nullptr);
  mlp_down(context, shared_offset_, operands.shared, buffers_.shared.h, out);
}

void Block::forward_routed(ThreadTeam& team, const BlockOperands& operands, const MatView& base,
                           const MatView& out, StageListener* listener, const Underway& underway) {
  if (underway.split && can_split()) return forward_split(team, operands, base, out, listener, underway);
  const int last_wave = underway.num_waves() - 1;
  underway.arrive(last_wave);
  const bool keep = options_.pass == Pass::forward_backward && !recomputes();
  const MatView expert_out = buffers_.expert_out.slice_rows(0, num_rows());
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  for_each_wave([&](Range experts, Range rows) {
    const MlpWeights weights = operands.experts.slice_groups(experts.begin, experts.end);
    const MlpBuffers buffers = wave_buffers(rows);
    mlp_up(context, wave_offset_, wave_x(operands.x, rows), weights, buffers, keep, wave_scale(rows));
    mlp_down(context, wave_offset_, weights, buffers.h, expert_out.slice_rows(rows.begin, rows.end));
  });
  enter(listener, Stage::combine);
  combine(team, expert_out, has_preweight(options_.impl) ? nullptr : assignment_p_.data(), base, out);
  underway.leave(last_wave);
}

void Block::backward_shared(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                            const MatView& dx, StageListener* listener) {
  const Range tokens = share_.shared_tokens;
  const RowSource x{operands.x.slice_rows(tokens.begin, tokens.end)};
  if (recomputes()) {
    mlp_up({team, *gemm_, listener, kRecomputeStages}, shared_offset_, x, operands.shared, buffers_.shared,
           true, nullptr);
  }
  const RowSource dy{y.slice_rows(tokens.begin, tokens.end), nullptr, dy_scale};
  const MlpContext context{team, *gemm_, listener, kSharedStages};
  const MlpBackward step{x, dy, nullptr, nullptr, nullptr, dx};
  mlp_down_grad(context, shared_offset_, step, operands.shared, buffers_.shared);
  mlp_input_grad(context, shared_offset_, step, operands.shared, buffers_.shared);
  mlp_weight_grad(context, shared_offset_, step, buffers_.shared, operands.shared_grad);
}

MlpBackward Block::backward_step(const BlockOperands& operands, const MatView& y, float dy_scale, float* dp,
                                 Range rows) const {
  const RowSource dy = gemm_->gathers_and_fuses()
                           ? RowSource{y, source_row() + rows.begin, dy_scale}
                           : RowSource{buffers_.packed_dy.slice_rows(rows.begin, rows.end)};
  return {wave_x(operands.x, rows),      dy,
          row_p_.data() + rows.begin,    dp_from_outputs() ? nullptr : dp,
          dp_index_.data() + rows.begin, buffers_.dx_rows.slice_rows(rows.begin, rows.end)};
}

// What needs the rows of y themselves, before the products.
void Block::take_up_dy(ThreadTeam& team, const MatView& y, float dy_scale, float* dp,
                       StageListener* listener) {
  if (dp_from_outputs()) {
    enter(listener, Stage::combine_grad);
    row_dots(team, {buffers_.expert_out, y, source_row(), dp_index_.data(), dy_scale}, num_rows(), dp);
  }
  if (gemm_->gathers_and_fuses()) return;
  enter(listener, Stage::pack_grad);
  gather_rows(team, {y, source_row(), dy_scale}, buffers_.packed_dy.slice_rows(0, num_rows()));
}

void Block::combine_dx(ThreadTeam& team, const MatView& base, const MatView& dx, StageListener* listener) {
  const MatView dx_rows = buffers_.dx_rows.slice_rows(0, num_rows());
  enter(listener, Stage::combine_grad);
  combine(team, dx_rows, nullptr, base, dx);
}

void Block::backward_routed(ThreadTeam& team, const BlockOperands& operands, const MatView& y, float dy_scale,
                            const MatView& base, const MatView& dx, float* dp, StageListener* listener,
                            const Underway& underway) {
  if (underway.split && can_split()) {
    backward_split(team, operands, y, dy_scale, base, dx, dp, listener, underway);
    return;
  }
  const int last_wave = underway.num_waves() - 1;
  underway.arrive(last_wave);
  take_up_dy(team, y, dy_scale, dp, listener);
  if (is_one_wave()) {
    backward_at_once(team, operands, y, dy_scale, base, dx, dp, listener, underway);
    return;
  }
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  for_each_wave([&](Range experts, Range rows) {
    const MlpWeights weights = operands.experts.slice_groups(experts.begin, experts.end);
    const MlpBuffers buffers = wave_buffers(rows);
    const MlpBackward step = backward_step(operands, y, dy_scale, dp, rows);
    if (recomputes()) {
      mlp_up({team, *gemm_, listener, kRecomputeStages}, wave_offset_, step.x, weights, buffers, true,
             nullptr);
    }
    mlp_down_grad(context, wave_offset_, step, weights, buffers);
    mlp_input_grad(context, wave_offset_, step, weights, buffers);
    mlp_weight_grad(context, wave_offset_, step, buffers,
                    operands.experts_grad.slice_groups(experts.begin, experts.end));
  });
  combine_dx(team, base, dx, listener);
  underway.leave(last_wave);
}

// The weights' gradients, which nobody waits for, come last.
void Block::backward_at_once(ThreadTeam& team, const BlockOperands& operands, const MatView& y,
                             float dy_scale, const MatView& base, const MatView& dx, float* dp,
                             StageListener* listener, const Underway& underway) {
  const MlpContext context{team, *gemm_, listener, kRoutedStages};
  const MlpBuffers buffers = wave_buffers({0, num_rows()});
  const MlpBackward step = backward_step(operands, y, dy_scale, dp, {0, num_rows()});
  mlp_down_grad(context, offset_, step, operands.experts, buffers);
  mlp_input_grad(context, offset_, step, operands.experts, buffers);
  combine_dx(team, base, dx, listener);
  underway.leave(underway.num_waves() - 1);
  mlp_weight_grad(context, offset_, step, buffers, operands.experts_grad);
}

double Block::executed_flops() const {
  const double width = static_cast<double>(shape_.hidden) * static_cast<double>(shape_.mlp_dim);
  const double routed = 6.0 * width * static_cast<double>(num_rows());
  const double shared = 6.0 * static_cast<double>(shape_.hidden * shape_.shared_dim) *
                        static_cast<double>(share_.shared_tokens.size());
  const bool backward = options_.pass == Pass::forward_backward;
  const double passes = !backward ? 1.0 : recomputes() ? 3.0 + 2.0 / 3.0 : 3.0;
  return (routed + shared) * passes;
}

}  // namespace moehill
