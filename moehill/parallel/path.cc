#include "moehill/parallel/path.h"

#include "moehill/kernels/rows.h"

namespace moehill {

ParallelPath::ParallelPath(const PathInputs& inputs, const MoeShape& shape, const BlockOptions& options,
                           const BlockShare& share)
    : inputs_(inputs), block_(shape, options, share, inputs.config.threads_per_device) {
  operands_.x = inputs.x;
  operands_.experts = inputs.experts.slice_groups(share.expert_begin, share.expert_end);
  operands_.experts_grad = inputs.experts_grad.slice_groups(share.expert_begin, share.expert_end);
  operands_.shared = inputs.shared;
  operands_.shared_grad = inputs.shared_grad;
  const Range tokens = result_tokens(inputs.config, inputs.rank);
  y_ = inputs.y.slice_rows(tokens.begin, tokens.end);
  dx_ = inputs.dx.slice_rows(tokens.begin, tokens.end);
}

void ParallelPath::begin_step(Group& group) {
  sent_bytes_.fill(0);
  counted_bytes_ = group.traffic().sent_bytes;
}

void ParallelPath::count_sent(Group& group, Move move) {
  const uint64_t bytes = group.traffic().sent_bytes;
  sent_bytes_[static_cast<size_t>(move)] += bytes - counted_bytes_;
  counted_bytes_ = bytes;
}

void ParallelPath::make_plan(Group& group, StageListener* listener) {
  enter(listener, Stage::plan);
  block_.make_plan(group.team(), *inputs_.routing);
  if (!block_.packs_rows()) return;
  enter(listener, Stage::pack);
  block_.pack_rows(group.team(), operands_.x);
}

void ParallelPath::forward_alone(ThreadTeam& team, StageListener* listener) {
  MatView base;
  if (block_.has_shared()) {
    block_.forward_shared(team, operands_, y_, listener);
    base = y_;
  }
  block_.forward_routed(team, operands_, base, y_, listener);
}

void ParallelPath::backward_alone(ThreadTeam& team, float dy_scale, float* dp, StageListener* listener) {
  std::fill_n(dp, y_.rows * inputs_.config.shape.topk, 0.0f);
  MatView base;
  if (block_.has_shared()) {
    block_.backward_shared(team, operands_, y_, dy_scale, dx_, listener);
    base = dx_;
  }
  block_.backward_routed(team, operands_, y_, dy_scale, base, dx_, dp, listener);
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
  if (routes_rows(config)) block.shared_tokens = {0, own.size()};
  if (shards_tokens(config)) return block;
  if (config.shared_placement == SharedPlacement::replicated) block.shared_tokens = {0, shape.tokens};
  if (config.spread == Spread::dense_masked) block.scope = PlanScope::masked;
  return block;
}

// Where a device's block sees a part of the assignments, those that it does not get (dropped, or sent
// elsewhere) belong to one more expert, which nobody holds.
MoeShape block_shape(const RunConfig& config, int rank) {
  MoeShape shape = config.shape;
  const bool ragged = routes_rows(config);
  if (config.spread == Spread::dp) shape.tokens = share(shape.tokens, rank, config.num_devices).size();
  if (config.spread == Spread::dp || ragged) ++shape.experts;
  return shape;
}

BlockOptions block_options(const RunConfig& config) {
  BlockOptions options = config.block;
  const bool ragged = routes_rows(config);
  if (config.spread != Spread::dp && !ragged) return options;
  // Dropping goes by the order of all tokens, so it happens before rows are sent; the capacity itself is that
  // of the whole problem.
  if (options.capacity.policy == CapacityPolicy::drop) options.capacity = {};
  if (options.capacity.policy == CapacityPolicy::pad) {
    options.capacity.rows = capacity_rows(options.capacity, config.shape.assignments(), config.shape.experts);
  }
  return options;
}

std::unique_ptr<ParallelPath> make_path(const PathInputs& inputs) {
  switch (inputs.config.spread) {
    case Spread::none:
      return make_single_path(inputs);
    case Spread::dp:
      return make_data_parallel_path(inputs);
    case Spread::compact_psum:
    case Spread::dense_masked:
      return make_psum_path(inputs);
    case Spread::ring_ag_rs:
      return make_gather_path(inputs);
    case Spread::ragged_a2a:
    case Spread::fused:
      return make_ragged_path(inputs);
  }
  return nullptr;
}

}  // namespace moehill
