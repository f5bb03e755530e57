// `ragged_a2a`: tokens and experts sharded. Each token's row goes once to every device that holds one of its
// experts; that device sums the rows of its experts before it returns one row, and the token's device adds
// what comes back. Backward sends the rows of dy the same way and gets rows of dx and dp back. Moves as many
// rows as the routing needs and no more.
//
// Partial sums travel in the storage type, as rows of x do.
#include <optional>

#include "moehill/kernels/rows.h"
#include "moehill/parallel/ragged_route.h"
#include "moehill/parallel/shared_gradient.h"

namespace moehill {
namespace {

class RaggedPath final : public ParallelPath {
 public:
  explicit RaggedPath(const PathInputs& inputs)
      : ParallelPath(inputs, block_shape(inputs.config, inputs.rank), block_options(inputs.config),
                     block_share(inputs.config, inputs.rank)),
        own_(result_tokens(inputs.config, inputs.rank)),
        route_(inputs.config, *inputs.routing, inputs.rank) {
    const MoeShape& shape = inputs.config.shape;
    const int64_t max_sent = RaggedRoute::max_sent(inputs.config, inputs.rank);
    operands_.x = inputs.x.slice_rows(own_.begin, own_.end);
    sent_ = Matrix::tight(max_sent, shape.hidden, shape.dtype);
    received_x_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    partial_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    if (!backward_too()) return;
    received_y_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    partial_dp_.resize(static_cast<size_t>(shape.assignments()));
    returned_dp_.resize(static_cast<size_t>(max_sent * shape.topk));
    if (shape.shared_dim == 0) return;
    shared_gradient_.emplace(inputs);
    operands_.shared_grad = shared_gradient_->part();
  }

  void make_plan(Group& group, StageListener* listener) override {
    enter(listener, Stage::plan);
    route_.make(group);
    count_sent(group, Move::metadata);
    block_.make_plan(group.team(), route_.received());
  }

  void forward(Group& group, StageListener* listener) override {
    ThreadTeam& team = group.team();
    enter(listener, Stage::dispatch);
    dispatch(group, operands_.x, received_x_);
    const BlockOperands operands = received_operands();
    if (block_.packs_rows()) {
      enter(listener, Stage::pack);
      block_.pack_rows(team, operands.x);
    }
    block_.forward_routed(team, operands, {}, received(partial_), listener);
    if (block_.has_shared()) block_.forward_shared(team, operands_, y_, listener);
    enter(listener, Stage::reduce);
    combine(group, y_);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    ThreadTeam& team = group.team();
    if (block_.has_shared()) block_.backward_shared(team, operands_, y_, dy_scale, dx_, listener);
    enter(listener, Stage::dispatch_grad);
    dispatch(group, y_, received_y_);
    std::fill(partial_dp_.begin(), partial_dp_.end(), 0.0f);
    block_.backward_routed(team, received_operands(), received(received_y_), dy_scale, {}, received(partial_),
                           partial_dp_.data(), listener);
    enter(listener, Stage::reduce_grad);
    combine(group, dx_);
    return_dp(group);
    count_sent(group, Move::metadata);
    if (shared_gradient_) shared_gradient_->reduce(group);
    count_sent(group, Move::gradients);
  }

 private:
  MatView received(const MatView& all) const { return all.slice_rows(0, route_.num_received()); }

  BlockOperands received_operands() const {
    BlockOperands operands = operands_;
    operands.x = received(received_x_);
    return operands;
  }

  size_t row_bytes() const {
    return static_cast<size_t>(inputs_.config.shape.hidden) * dtype_bytes(inputs_.config.shape.dtype);
  }

  // Rows of the own tokens to the devices of their experts.
  void dispatch(Group& group, const MatView& own, const MatView& all_received) {
    gather_rows(group.team(), {own, route_.sent_token()}, sent_.view().slice_rows(0, route_.num_sent()));
    group.all_to_all(sent_.view().data, route_.send_offsets(), all_received.data, route_.receive_offsets(),
                     row_bytes());
    count_sent(group, Move::dispatch);
  }

  // The adjoint: partial sums back, and out = their sum in the order of devices, plus the shared expert's
  // part that `out` holds.
  void combine(Group& group, const MatView& out) {
    group.all_to_all(partial_.view().data, route_.receive_offsets(), sent_.view().data, route_.send_offsets(),
                     row_bytes());
    count_sent(group, Move::combine);
    const MatView returned = sent_.view().slice_rows(0, route_.num_sent());
    const MatView base = block_.has_shared() ? out : MatView{};
    combine_rows(group.team(), {returned, route_.row_at_device(), nullptr, group.size(), base}, out);
  }

  void return_dp(Group& group) {
    const int topk = inputs_.config.shape.topk;
    group.all_to_all(partial_dp_.data(), route_.receive_offsets(), returned_dp_.data(), route_.send_offsets(),
                     static_cast<size_t>(topk) * sizeof(float));
    const OwnAssignments& own = route_.own();
    float* dp = inputs_.dp + own_.begin * topk;
    for (int64_t i = 0; i < own.size(); ++i) {
      const int64_t row = route_.row_at_device()[i / topk * group.size() + route_.device_of(own.expert(i))];
      dp[i] = own.kept(i) ? returned_dp_[static_cast<size_t>(row * topk + i % topk)] : 0.0f;
    }
  }

  Range own_;
  RaggedRoute route_;
  Matrix sent_{};                                // [rows sent, H]; then what comes back
  Matrix received_x_{}, received_y_{};           // [rows received, H]; y until backward has used it
  Matrix partial_{};                             // [rows received, H] this device's part of y, then of dx
  std::vector<float> partial_dp_, returned_dp_;  // [rows received, k], [rows sent, k]
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_ragged_path(const PathInputs& inputs) {
  return std::make_unique<RaggedPath>(inputs);
}

}  // namespace moehill
