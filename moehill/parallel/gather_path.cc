// `ring_ag_rs`: tokens and experts sharded. Forward: all-gather of x, the device's experts over all tokens,
// reduce-scatter of the partial sums back to the tokens' devices; backward the same with dy and dx. Moves
// (P-1) T/P rows of H a device each way, whatever the routing.
//
// The shared expert works on the device's own tokens; its result travels in no collective, it is added to the
// device's own partial sums before they are reduced.
#include <optional>

#include "moehill/parallel/shared_gradient.h"

namespace moehill {
namespace {

class GatherPath final : public ParallelPath {
 public:
  explicit GatherPath(const PathInputs& inputs)
      : ParallelPath(inputs, block_shape(inputs.config, inputs.rank), block_options(inputs.config),
                     block_share(inputs.config, inputs.rank)),
        own_(result_tokens(inputs.config, inputs.rank)),
        own_x_(inputs.x.slice_rows(own_.begin, own_.end)),
        routing_(*inputs.routing) {
    const MoeShape& shape = inputs.config.shape;
    for (int r = 0; r <= inputs.config.num_devices; ++r) {
      const int64_t begin =
          r < inputs.config.num_devices ? result_tokens(inputs.config, r).begin : shape.tokens;
      token_offsets_.push_back(begin);
      value_offsets_.push_back(begin * shape.hidden);
      choice_offsets_.push_back(begin * shape.topk);
    }
    all_x_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    partial_ = Matrix::tight(shape.tokens, shape.hidden, DType::f32);
    operands_.x = all_x_;
    if (!backward_too()) return;
    all_y_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    dp_.resize(static_cast<size_t>(shape.assignments()));
    if (shape.shared_dim == 0) return;
    shared_gradient_.emplace(inputs);
    operands_.shared_grad = shared_gradient_->part();
  }

  void make_plan(Group& group, StageListener* listener) override {
    enter(listener, Stage::plan);
    const size_t first = static_cast<size_t>(choice_offsets_[static_cast<size_t>(group.rank())]);
    const Routing& all = *inputs_.routing;
    group.all_gather(all.expert.data() + first, choice_offsets_, sizeof(int32_t), routing_.expert.data());
    group.all_gather(all.weight.data() + first, choice_offsets_, sizeof(float), routing_.weight.data());
    count_sent(group, Move::metadata);
    block_.make_plan(group.team(), routing_);
  }

  void forward(Group& group, StageListener* listener) override {
    const MatView& partial = partial_.view();
    enter(listener, Stage::dispatch);
    gather(group, own_x_, all_x_);
    count_sent(group, Move::dispatch);
    if (block_.packs_rows()) {
      enter(listener, Stage::pack);
      block_.pack_rows(group.team(), all_x_);
    }
    if (block_.has_shared())
      block_.forward_shared(group.team(), operands_, partial.slice_rows(own_.begin, own_.end), listener);
    block_.forward_routed(group.team(), operands_, base(group.team()), partial, listener);
    enter(listener, Stage::reduce);
    group.reduce_scatter(partial.data, DType::f32, value_offsets_, y_.data, y_.dtype);
    count_sent(group, Move::combine);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    const MatView& partial = partial_.view();
    ThreadTeam& team = group.team();
    enter(listener, Stage::dispatch_grad);
    gather(group, y_, all_y_);
    count_sent(group, Move::dispatch);
    if (block_.has_shared()) {
      block_.backward_shared(team, operands_, all_y_, dy_scale, partial.slice_rows(own_.begin, own_.end),
                             listener);
    }
    std::fill(dp_.begin(), dp_.end(), 0.0f);
    block_.backward_routed(team, operands_, all_y_, dy_scale, base(team), partial, dp_.data(), listener);
    enter(listener, Stage::reduce_grad);
    group.reduce_scatter(partial.data, DType::f32, value_offsets_, dx_.data, dx_.dtype);
    count_sent(group, Move::combine);
    const int64_t first = choice_offsets_[static_cast<size_t>(group.rank())];
    group.reduce_scatter(dp_.data(), DType::f32, choice_offsets_, inputs_.dp + first, DType::f32);
    count_sent(group, Move::metadata);
    if (shared_gradient_) shared_gradient_->reduce(group);
    count_sent(group, Move::gradients);
  }

 private:
  void gather(Group& group, const MatView& own, const MatView& all) const {
    group.all_gather(own.data, token_offsets_, static_cast<size_t>(all.cols) * dtype_bytes(all.dtype),
                     all.data);
  }

  // What the routed experts add to: the shared expert's rows at the own tokens, zero elsewhere.
  MatView base(ThreadTeam& team) const {
    if (inputs_.config.shape.shared_dim == 0) return {};
    return only_rows(team, partial_, own_);
  }

  Range own_;
  MatView own_x_;
  Routing routing_;                                                      // as gathered
  std::vector<int64_t> token_offsets_, value_offsets_, choice_offsets_;  // [P + 1]: tokens, x H, x k
  Matrix all_x_{}, all_y_{};                                             // [T, H]
  Matrix partial_{};                                                     // [T, H] f32
  std::vector<float> dp_;                                                // [T k] of this device's experts
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_gather_path(const PathInputs& inputs) {
  return std::make_unique<GatherPath>(inputs);
}

}  // namespace moehill
