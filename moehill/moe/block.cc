// This file makes a device's plan and work space, and computes the shared expert. block_schedules.cc computes
// the routed experts.
#include "moehill/moe/block.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/partition.h"
#include "moehill/kernels/row_vectors.h"
#include "moehill/kernels/rows.h"

namespace moehill {
namespace {

// MlpRows describes the buffers of an MLP: how many rows, how wide, and which products are kept.
struct MlpRows {
  int64_t rows, width;
  bool fused, products;  // fused: gate and up are one product; products: they are kept
};

MlpBuffers lay_out_mlp(Scratch& memory, const MoeShape& shape, const MlpRows& r) {
  const bool gated = shape.form.activation.gated, both = r.fused && gated;
  MlpBuffers buffers;
  if (r.products) {
    buffers.gate = memory.matrix(r.rows, both ? gate_up_columns(r.width) : r.width, shape.dtype);
    if (gated && !both) buffers.up = memory.matrix(r.rows, r.width, shape.dtype);
  }
  buffers.h = memory.matrix(r.rows, r.width, shape.dtype);
  return buffers;
}

GemmLimits gemm_limits(const BlockSpec& spec, int64_t rows) {
  const MoeShape& shape = spec.shape;
  const int64_t width = std::max(gate_up_columns(shape.mlp_dim), gate_up_columns(shape.shared_dim));
  GemmLimits limits;
  limits.max_groups = std::max(1, spec.num_experts());
  limits.max_rows = std::max({int64_t{1}, rows, shape.shared_dim > 0 ? spec.share.shared_tokens.size() : 0});
  limits.max_depth = std::max(shape.hidden, width);
  limits.max_matrix = shape.hidden * width;
  limits.num_threads = spec.num_threads;
  limits.blocks = spec.options.blocks;
  return limits;
}

}  // namespace

BlockPlan::BlockPlan(const BlockSpec& spec)
    : builder({spec.shape.tokens, spec.shape.experts, spec.shape.topk, spec.share.expert_begin,
               spec.share.expert_end, spec.options.pack, spec.options.capacity, spec.share.scope,
               spec.num_threads}),
      routes(builder.make_plan()),
      offset(idx(spec.num_experts()) + 1),
      source_row(idx(builder.max_rows())),
      row_p(source_row.size()),
      dp_index(source_row.size()),
      assignment_p(idx(spec.shape.assignments())) {}

void BlockPlan::make(ThreadTeam& team, const Routing& routing, const int32_t* rows_at) {
  builder.build(routing, team, routes);
  // Rows after the last group's kept rows are masked rows. They become rows of the last expert with the gate
  // value 0, so that a product runs over all rows.
  std::copy_n(routes.group_offset.begin(), offset.size(), offset.begin());
  const int64_t kept_rows = offset.back();
  if (offset.size() > 1) offset.back() = routes.num_rows();
  const auto fill = [&](Range rows, Range assignments) {
    for (int64_t r = rows.begin; r < rows.end; ++r) {
      const int32_t token = routes.row_token[idx(r)];
      const int32_t assignment = r < kept_rows ? routes.row_assignment[idx(r)] : -1;
      source_row[idx(r)] = rows_at == nullptr || token < 0 ? token : rows_at[token];
      dp_index[idx(r)] = assignment;
      row_p[idx(r)] = assignment < 0 ? 0.0f : routing.weight[idx(assignment)];
    }
    for (int64_t a = assignments.begin; a < assignments.end; ++a) {
      const int32_t row = routes.assignment_row[idx(a)];
      assignment_p[idx(a)] = row >= 0 && row < kept_rows ? routing.weight[idx(a)] : 0.0f;
    }
  };
  const int64_t num_rows = routes.num_rows();
  const int64_t num_assignments = static_cast<int64_t>(routes.assignment_row.size());
  if (num_assignments <= kFewAssignments) return fill({0, num_rows}, {0, num_assignments});
  team.run([&](int i) { fill(share(num_rows, i, team.size()), share(num_assignments, i, team.size())); });
}

void BlockPlan::visit(const MemoryVisitor& visitor) {
  if (routes.num_rows() == 0) return;
  visit_vector(row_p, visitor);
  visit_vector(assignment_p, visitor);
  for (std::vector<int32_t>* of :
       {&routes.row_token, &routes.row_assignment, &routes.assignment_row, &dp_index, &source_row})
    visit_vector(*of, visitor);
}

int BlockPlan::end_of_portion(int begin, int64_t max_rows) const {
  const int num_experts = static_cast<int>(offset.size()) - 1;
  int end = begin + 1;
  while (end < num_experts && offset[idx(end) + 1] - offset[idx(begin)] <= max_rows) ++end;
  return end;
}

BlockScratch::BlockScratch(const BlockSpec& spec, int64_t max_rows)
    : part_begin(idx(spec.num_experts())),
      part_end(part_begin.size()),
      shared_offset{0, spec.share.shared_tokens.size()} {
  group_offset.reserve(part_begin.size() + 1);
  if (spec.has_shared_gate()) {
    shared_p.resize(idx(spec.share.shared_tokens.size()));
    shared_dp.resize(shared_p.size());
    shared_index.resize(shared_p.size());
    std::iota(shared_index.begin(), shared_index.end(), 0);
  }
  const GemmLimits limits = gemm_limits(spec, max_rows);
  gemm = spec.options.backend == Backend::gmm ? make_gmm(limits) : make_ragged_dot(limits);
  if (spec.options.part == StepPart::communication) gemm = make_no_gemm(std::move(gemm));
  Scratch measure;
  lay_out(measure, spec, max_rows, max_rows);
  memory_ = Scratch(measure.peak_bytes());
  lay_out(memory_, spec, max_rows, max_rows);
}

// Lays out the work space. For backward, forward keeps these rows, by remat mode:
//
//   none        products and expert outputs; the rows of dx have their own place
//   combine     products; the rows of dx overwrite the expert outputs, and dp comes from <dh, h>
//   expert_mlp  expert outputs; the products of one portion of experts at a time, in the shared expert's
//               place
void BlockScratch::lay_out(Scratch& memory, const BlockSpec& spec, int64_t rows, int64_t portion_rows) {
  const MoeShape& shape = spec.shape;
  const BlockOptions& options = spec.options;
  const DType dtype = shape.dtype;
  const bool backward = spec.has_backward(), ragged = !spec.gathers_and_fuses();
  expert_out = memory.matrix(rows, shape.hidden, dtype);
  if (backward)
    dx_rows = options.remat == Remat::combine ? expert_out : memory.matrix(rows, shape.hidden, dtype);
  if (spec.packs_rows()) packed_x = memory.matrix(rows, shape.hidden, dtype);
  if (ragged && backward) packed_dy = memory.matrix(rows, shape.hidden, dtype);
  if (has_scatter(options.impl)) sum = memory.matrix(shape.tokens, shape.hidden, DType::f32);

  const bool fused = has_fused_w13(options.impl), shared_fused = options.shared_fused;
  const size_t mark = memory.mark();
  routed = lay_out_mlp(
      memory, shape,
      {spec.recomputes() ? portion_rows : rows, shape.mlp_dim, fused, backward || ragged || !fused});
  if (spec.recomputes()) memory.rewind(mark);
  if (shape.shared_dim > 0) {
    shared = lay_out_mlp(memory, shape,
                         {spec.share.shared_tokens.size(), shape.shared_dim, shared_fused,
                          backward || ragged || !shared_fused});
  }
}

double BlockScratch::bytes(const BlockSpec& spec, int64_t rows, int64_t portion_rows) {
  Scratch measure;
  BlockScratch().lay_out(measure, spec, rows, portion_rows);
  const GemmLimits limits = gemm_limits(spec, rows);
  const size_t gemm =
      spec.options.backend == Backend::gmm ? gmm_workspace_bytes(limits) : ragged_dot_workspace_bytes(limits);
  const int64_t plan = 4 * (spec.shape.assignments() * 4 + rows * 5);
  return static_cast<double>(measure.peak_bytes() + gemm) + static_cast<double>(plan);
}

Block::Block(const BlockSpec& spec)
    : spec_(spec),
      max_tokens_(spec.shape.tokens),
      max_shared_tokens_(spec.share.shared_tokens.size()),
      plan_(spec),
      scratch_(spec, plan_.builder.max_rows()) {}

void Block::set_tokens(int64_t tokens, Range shared_tokens) {
  MOEHILL_CHECK(tokens <= max_tokens_ && shared_tokens.size() <= max_shared_tokens_,
                "{} tokens, {} of the shared expert", tokens, shared_tokens.size());
  spec_.shape.tokens = tokens;
  spec_.share.shared_tokens = shared_tokens;
  scratch_.shared_offset[1] = shared_tokens.size();
}

void Block::pack_rows(ThreadTeam& team, const MatView& x) {
  if (!spec_.packs_rows()) return;
  gather_rows(team, {x, plan_.source_row.data()}, scratch_.packed_x.slice_rows(0, plan_.routes.num_rows()));
}

void Block::forward_shared(const BlockPass& pass) {
  const Range tokens = spec_.share.shared_tokens;
  const MlpContext context{pass.team, *scratch_.gemm, pass.listener, kSharedStages, spec_.left_out};
  const MlpWeights& weights = pass.weights.shared;
  MlpForward step{{pass.x.slice_rows(tokens.begin, tokens.end)}, nullptr, spec_.keeps_products()};
  if (!context.begins(Stage::shared)) return;
  if (spec_.has_shared_gate()) {
    make_shared_gate(pass);
    step.row_scale = scratch_.shared_p.data();
  }
  // A separate activation works on all rows of its buffers, and the buffers have rows for the most tokens.
  const MlpBuffers buffers = scratch_.shared.slice_rows(0, tokens.size());
  mlp_up(context, scratch_.shared_offset, step, weights, buffers);
  mlp_down(context, scratch_.shared_offset, {buffers.h, pass.out}, weights);
}

void Block::backward_shared(const BlockPass& pass) {
  const Range tokens = spec_.share.shared_tokens;
  const MlpContext context{pass.team, *scratch_.gemm, pass.listener, kSharedStages, spec_.left_out};
  const MlpWeights& weights = pass.weights.shared;
  MlpBackward step{.x = {pass.x.slice_rows(tokens.begin, tokens.end)},
                   .dy = {pass.y.slice_rows(tokens.begin, tokens.end), nullptr, pass.dy_scale},
                   .dx = pass.out};
  if (spec_.has_shared_gate()) {
    step.p = scratch_.shared_p.data();
    step.dp = scratch_.shared_dp.data();
    step.dp_index = scratch_.shared_index.data();
  }
  const MlpBuffers buffers = scratch_.shared.slice_rows(0, tokens.size());
  if (spec_.recomputes()) {
    mlp_up({pass.team, *scratch_.gemm, pass.listener, kRecomputeStages, spec_.left_out},
           scratch_.shared_offset, {step.x, nullptr, true}, weights, buffers);
  }
  if (spec_.left_out.has(Stage::shared_grad)) return;
  mlp_down_grad(context, scratch_.shared_offset, step, weights, buffers);
  mlp_input_grad(context, scratch_.shared_offset, step, weights, buffers);
  mlp_weight_grad(context, scratch_.shared_offset, step, buffers, pass.weights.shared_grad);
  if (spec_.has_shared_gate()) backward_shared_gate(pass, step.x);
}

// Computes p = sigmoid(x w), the gate value of the shared expert.
void Block::make_shared_gate(const BlockPass& pass) {
  const Range tokens = spec_.share.shared_tokens;
  std::vector<float>& p = scratch_.shared_p;
  const int64_t n = tokens.size();
  std::fill_n(p.begin(), n, 0.0f);
  add_vector_dots(pass.team, scratch_.shared_offset,
                  {{pass.x.slice_rows(tokens.begin, tokens.end)}, pass.weights.shared.row_gate}, p.data());
  for (int64_t t = 0; t < n; ++t) p[idx(t)] = 1 / (1 + std::exp(-p[idx(t)]));
}

// Computes dz = dp p (1 - p), then dx += dz w and dw = x^T dz.
void Block::backward_shared_gate(const BlockPass& pass, const RowSource& x) {
  std::vector<float>& dz = scratch_.shared_dp;
  for (int64_t t = 0; t < spec_.share.shared_tokens.size(); ++t)
    dz[idx(t)] *= scratch_.shared_p[idx(t)] * (1 - scratch_.shared_p[idx(t)]);
  add_outer(pass.team, dz.data(), pass.weights.shared.row_gate, pass.out);
  sum_rows(pass.team, scratch_.shared_offset, {x, dz.data(), spec_.shape.hidden},
           pass.weights.shared_grad.row_gate);
}

void Block::spoil_work_space(const MemoryVisitor& spoil) {
  const int64_t rows = plan_.num_rows();
  int64_t buffer_rows = rows;  // rows in use of the buffers that all portions share
  if (spec_.recomputes()) {
    buffer_rows = 0;
    for (int begin = 0, end = 0; begin < spec_.num_experts(); begin = end) {
      end = plan_.end_of_portion(begin, rows / 8);
      buffer_rows = std::max(buffer_rows, plan_.offset[idx(end)] - plan_.offset[idx(begin)]);
    }
  }
  const auto visit_rows = [&](const MatView& m, int64_t n) {
    if (m.data != nullptr) visit_matrix(m.slice_rows(0, n), spoil);
  };
  for (const MatView* m : {&scratch_.expert_out, &scratch_.dx_rows, &scratch_.packed_dy})
    visit_rows(*m, rows);
  for (const MatView* m : {&scratch_.routed.gate, &scratch_.routed.up, &scratch_.routed.h})
    visit_rows(*m, buffer_rows);
  for (const MatView* m : {&scratch_.sum, &scratch_.shared.gate, &scratch_.shared.up, &scratch_.shared.h})
    visit_matrix(*m, spoil);
  for (std::vector<float>* v : {&scratch_.shared_p, &scratch_.shared_dp}) visit_vector(*v, spoil);
  scratch_.gemm->visit_work_space(spoil);
  if (spec_.options.prequeue) return;
  visit_rows(scratch_.packed_x, rows);
  plan_.visit(spoil);
}

double Block::executed_flops() const {
  const MoeShape& shape = spec_.shape;
  const int64_t products =
      shape.mlp_dim * plan_.num_rows() + shape.shared_dim * spec_.share.shared_tokens.size();
  const int matrices = shape.form.num_matrices();
  // Counts products of a row with a matrix. Backward takes two for each matrix, and recomputation repeats the
  // products before the activation.
  const int made = !spec_.has_backward() ? matrices : 3 * matrices + (spec_.recomputes() ? matrices - 1 : 0);
  return 2.0 * static_cast<double>(shape.hidden) * static_cast<double>(products) * made;
}

}  // namespace moehill
