// Implementation of parallel/path.h: what all paths share, and the path `none`.
#include "moehill/parallel/path.h"

#include <cstring>

#include "moehill/kernels/rows.h"

namespace moehill {
namespace {

// SinglePath is the path `none`: one device does all the work.
class SinglePath final : public ParallelPath {
 public:
  explicit SinglePath(const PathInputs& inputs) : ParallelPath(inputs) { take_tokens(); }
  void forward(Group& group, StageListener* listener) override { forward_alone(group.team(), listener); }
  void backward(Group& group, float dy_scale, StageListener* listener) override {
    backward_alone(group.team(), dy_scale, inputs_.dp, listener);
  }

 private:
  void take_tokens() override { block_.set_tokens(num_tokens(), {0, num_tokens()}); }
};

}  // namespace

ParallelPath::ParallelPath(const PathInputs& inputs)
    : inputs_(inputs), block_(block_spec(inputs.config, inputs.rank)), weights_(inputs.weights) {
  const BlockShare& share = block_.spec().share;
  weights_.routed = weights_.routed.slice_groups(share.expert_begin, share.expert_end);
  weights_.routed_grad = weights_.routed_grad.slice_groups(share.expert_begin, share.expert_end);
  token_offsets_.resize(static_cast<size_t>(inputs.config.num_devices) + 1);
  const MoeShape& shape = inputs.config.shape;
  const Capacity& capacity = inputs.config.block.capacity;
  // Paths that know all assignments limit them here. Paths whose devices only see their own tokens limit them
  // in the route (OwnAssignments).
  if (!capacity.is_plain() && (!shards_tokens(inputs.config) || inputs.config.spread == Spread::ring_ag_rs))
    limiter_.emplace(capacity, shape.tokens, shape.experts, shape.topk);
  if (shape.router.zero_experts > 0) zero_.emplace(shape.tokens);
  const Placement placement{inputs.config.placement};
  if (backward_too() && num_copies(placement) > 0)
    copies_.emplace(placement, inputs.weights.routed_grad, inputs.rank, inputs.config.num_devices);
  take_inputs();
}

void ParallelPath::take_inputs() {
  const RunConfig& config = inputs_.config;
  const bool evenly = inputs_.token_offsets.empty();
  for (int r = 0; r <= config.num_devices; ++r) {
    token_offsets_[idx(r)] =
        evenly ? config.shape.tokens * r / config.num_devices : inputs_.token_offsets[idx(r)];
  }
  inputs_.token_offsets = token_offsets_;
  const Range tokens = shards_tokens(config) ? own_tokens() : Range{0, num_tokens()};
  x_ = inputs_.x.slice_rows(tokens.begin, tokens.end);
  y_ = inputs_.y.slice_rows(tokens.begin, tokens.end);
  dx_ = inputs_.dx.slice_rows(tokens.begin, tokens.end);
  dy_ = read_dy(inputs_).slice_rows(tokens.begin, tokens.end);
}

void ParallelPath::bind(const PathInputs& inputs) {
  inputs_.routing = inputs.routing;
  inputs_.token_offsets = inputs.token_offsets;
  inputs_.x = inputs.x;
  inputs_.y = inputs.y;
  inputs_.dx = inputs.dx;
  inputs_.dy = inputs.dy;
  inputs_.dp = inputs.dp;
  inputs_.latent = inputs.latent;
  take_inputs();
  take_tokens();
}

void ParallelPath::clear_unwritten() {
  if (inputs_.config.shape.shared_dim > 0 && !has_shared()) clear(weights_.shared_grad);
}

void clear(const MlpWeights& gradient) {
  for (const WeightView* part : gradient.parts()) {
    if (part->data != nullptr) std::memset(part->data, 0, part->bytes());
  }
}

void ParallelPath::begin_step(Group& group) {
  sent_bytes_.fill(0);
  counted_bytes_ = group.traffic().sent_bytes;
  begin_step_of_part(group);
}

void ParallelPath::count_sent(Group& group, Move move) {
  const uint64_t bytes = group.traffic().sent_bytes;
  sent_bytes_[static_cast<size_t>(move)] += bytes - counted_bytes_;
  counted_bytes_ = bytes;
}

void ParallelPath::make_plan(Group& group, StageListener* listener) {
  enter(listener, Stage::plan);
  take_zero_experts(group.team());
  block_.make_plan(group.team(), limited(*inputs_.routing));
  const BlockSpec& spec = block_.spec();
  if (!spec.packs_rows() || !begins(listener, spec.left_out, Stage::pack)) return;
  block_.pack_rows(group.team(), x_);
}

const Routing& ParallelPath::limited(const Routing& routing) {
  if (!limiter_) return routing;
  const MoeShape& shape = inputs_.config.shape;
  return limiter_->apply(routing, {0, routing.num_tokens},
                         capacity_rows(inputs_.config.block.capacity, num_assignments(), shape.experts));
}

void ParallelPath::take_zero_experts(ThreadTeam& team) {
  if (!zero_) return;
  zero_->take(*inputs_.routing,
              shards_tokens(inputs_.config) ? own_tokens() : block_.spec().share.shared_tokens, team);
}

void ParallelPath::forward_own(const BlockPass& pass) {
  if (has_shared()) block_.forward_shared(pass);
  if (!zero_ || !begins(pass.listener, block_.spec().left_out, Stage::combine)) return;
  const Range tokens = block_.spec().share.shared_tokens;
  zero_->add(pass.team, pass.x.slice_rows(tokens.begin, tokens.end), 1, has_shared() ? pass.out : MatView{},
             pass.out);
}

void ParallelPath::backward_own(const BlockPass& pass) {
  if (has_shared()) block_.backward_shared(pass);
  if (!zero_ || !begins(pass.listener, block_.spec().left_out, Stage::combine_grad)) return;
  const Range tokens = block_.spec().share.shared_tokens;
  zero_->add(pass.team, pass.y.slice_rows(tokens.begin, tokens.end), pass.dy_scale,
             has_shared() ? pass.out : MatView{}, pass.out);
}

void ParallelPath::make_zero_dp(ThreadTeam& team, float dy_scale, float* dp) {
  if (!zero_) return;
  const Range tokens = block_.spec().share.shared_tokens;
  zero_->make_dp(team, x_.slice_rows(tokens.begin, tokens.end), dy_.slice_rows(tokens.begin, tokens.end),
                 dy_scale, dp + tokens.begin * inputs_.config.shape.topk);
}

void ParallelPath::sum_copies(Group& group) {
  if (copies_) copies_->sum(group);
}

void ParallelPath::spoil_work_space(const MemoryVisitor& spoil) {
  if (copies_) copies_->spoil(spoil);
  block_.spoil_work_space(spoil);
  if (inputs_.config.block.prequeue) return;
  if (limiter_) limiter_->spoil();
  if (zero_) zero_->spoil(spoil);
}

void ParallelPath::forward_alone(ThreadTeam& team, StageListener* listener) {
  BlockPass pass = forward_pass(team, listener);
  if (has_own()) {
    forward_own(pass);
    pass.base = y_;
  }
  block_.forward_routed(pass);
}

void ParallelPath::backward_alone(ThreadTeam& team, float dy_scale, float* dp, StageListener* listener) {
  clear_unwritten();
  std::fill_n(dp, y_.rows * inputs_.config.shape.topk, 0.0f);
  BlockPass pass = backward_pass(team, dy_scale, listener);
  pass.dp = dp;
  if (has_own()) {
    backward_own(pass);
    pass.base = dx_;
  }
  block_.backward_routed(pass);
  make_zero_dp(team, dy_scale, dp);
}

MatView ParallelPath::only_rows(ThreadTeam& team, const MatView& sums, Range kept) {
  zero_rows(team, sums.slice_rows(0, kept.begin));
  zero_rows(team, sums.slice_rows(kept.end, sums.rows));
  return sums;
}

Range result_tokens(const RunConfig& config, int rank) {
  if (!shards_tokens(config)) return {0, config.shape.tokens};
  return share(config.shape.tokens, rank, config.num_devices);
}

BlockShare block_share(const RunConfig& config, int rank) {
  const MoeShape& shape = config.shape;
  const Range own = share(shape.tokens, rank, config.num_devices);
  if (config.spread == Spread::none) return {0, shape.experts, {0, shape.tokens}, PlanScope::local};
  if (config.spread == Spread::dp) return {0, shape.experts, {0, own.size()}, PlanScope::local};
  const Range experts = share(shape.experts, rank, config.num_devices);
  BlockShare block{static_cast<int>(experts.begin), static_cast<int>(experts.end), own, PlanScope::local};
  if (shards_tokens(config)) block.shared_tokens = {0, own.size()};
  if (shards_tokens(config)) return block;
  if (config.shared_placement == SharedPlacement::replicated) block.shared_tokens = {0, shape.tokens};
  if (config.spread == Spread::dense_masked) block.scope = PlanScope::masked;
  return block;
}

// A block that sees only a part of the assignments has one more expert, which no device holds. It stands for
// the assignments that the block does not get (dropped, or sent elsewhere). Which assignments are dropped
// depends on the order of all tokens, so that is decided before; the capacity in rows belongs to the whole
// problem.
BlockSpec block_spec(const RunConfig& config, int rank) {
  BlockSpec spec{config.shape, config.block, block_share(config, rank), config.threads_per_device};
  if (!config.block.capacity.is_plain()) spec.options.capacity = {};
  if (config.spread != Spread::dp && !routes_rows(config)) return spec;
  if (config.spread == Spread::dp) spec.shape.tokens = result_tokens(config, rank).size();
  ++spec.shape.experts;
  Capacity& capacity = spec.options.capacity;
  if (capacity.policy == CapacityPolicy::drop) capacity = {};
  if (capacity.policy == CapacityPolicy::pad)
    capacity.rows = capacity_rows(capacity, config.shape.assignments(), config.shape.experts);
  return spec;
}

SharedGradient::SharedGradient(const PathInputs& inputs)
    : part_(inputs.weights.shared_grad),
      sum_(inputs.weights.shared_grad),
      offsets_(static_cast<size_t>(inputs.config.num_devices) + 1) {
  if (inputs.own_results) return;
  memory_ = make_mlp(weight_key(inputs.config).shared_storage());
  part_ = memory_.view;
}

void SharedGradient::reduce(Group& group, bool is_written) {
  if (!is_written) clear(part_);
  // Each device ends with a range of each matrix, so the sum moves half as much as an all-reduce would.
  const auto parts = part_.parts(), sums = sum_.parts();
  for (size_t i = 0; i < parts.size(); ++i) {
    if (sums[i]->data == nullptr) continue;
    for (int r = 0; r <= group.size(); ++r)
      offsets_[static_cast<size_t>(r)] = sums[i]->group_elements() * r / group.size();
    const int64_t begin = offsets_[static_cast<size_t>(group.rank())];
    char* output =
        static_cast<char*>(sums[i]->data) + static_cast<size_t>(begin) * dtype_bytes(sums[i]->dtype);
    group.reduce_scatter(parts[i]->data, parts[i]->dtype, offsets_, output, sums[i]->dtype);
  }
}

std::unique_ptr<ParallelPath> make_path(const PathInputs& inputs) {
  if (inputs.config.shape.form.latent > 0) return make_latent_path(inputs);
  switch (inputs.config.spread) {
    case Spread::none:
      return std::make_unique<SinglePath>(inputs);
    case Spread::dp:
      return make_data_parallel_path(inputs);
    case Spread::compact_psum:
    case Spread::dense_masked:
      return make_psum_path(inputs);
    case Spread::ring_ag_rs:
    case Spread::ragged_a2a:
    case Spread::fused:
    case Spread::hierarchical:
      return make_sharded_path(inputs);
  }
  return nullptr;
}

}  // namespace moehill
