// `ragged_a2a` and `fused`: tokens and experts sharded. Each token's row goes once to every device that holds
// one of its experts; that device sums the rows of its experts before it returns one row, and the token's
// device adds what comes back. Backward sends the rows of dy the same way and gets rows of dx and dp back.
// Moves as many rows as the routing needs and no more.
//
// The shared expert works while rows are in flight.
//
// `fused`: the same plan with nothing copied where devices share an address space. Elsewhere by messages, and
// to other nodes in waves of experts, whose rows and sums travel while others are worked on (route_waves.h).
// Partial sums are of the storage type and added in the order of devices, so both give the same bits.
#include <optional>

#include "moehill/parallel/row_exchange.h"
#include "moehill/parallel/shared_gradient.h"

namespace moehill {
namespace {

class RaggedPath final : public ParallelPath {
 public:
  explicit RaggedPath(const PathInputs& inputs)
      : ParallelPath(inputs),
        own_(result_tokens(inputs.config, inputs.rank)),
        route_(inputs.config, *inputs.routing, inputs.rank) {
    const MoeShape& shape = inputs.config.shape;
    if (!backward_too()) return;
    partial_dp_.resize(static_cast<size_t>(shape.assignments()));
    returned_dp_.resize(static_cast<size_t>(RaggedRoute::max_sent(inputs.config, inputs.rank) * shape.topk));
    if (shape.shared_dim == 0) return;
    shared_gradient_.emplace(inputs);
    weights_.shared_grad = shared_gradient_->part();
  }

  void prepare(Group& group) override {
    const RunConfig& config = inputs_.config;
    const bool fused = config.spread == Spread::fused;
    if (fused && config.num_waves == 0) exchange_ = make_direct_exchange(inputs_, route_, group);
    if (exchange_ == nullptr) {
      int num_waves = 1;
      if (fused && block_.spec().can_split_rows() && config.num_waves > 0) num_waves = config.num_waves;
      if (fused && block_.spec().can_split_rows() && config.num_waves == 0 &&
          group.reach() == Reach::messages)
        num_waves = default_waves(config);
      exchange_ = make_message_exchange(inputs_, route_, group, num_waves);
    }
    block_.read_rows_at(exchange_->row_of_token());
  }

  void make_plan(Group& group, StageListener* listener) override {
    enter(listener, Stage::plan);
    route_.make(group);
    exchange_->make_index(group);
    count_sent(group, Move::metadata);
    block_.make_plan(group.team(), route_.received());
  }

  void forward(Group& group, StageListener* listener) override {
    ThreadTeam& team = group.team();
    enter(listener, Stage::dispatch);
    exchange_->start_x(group);
    BlockPass pass = forward_pass(team, listener);
    if (has_shared() && !splits()) block_.forward_shared(pass);
    Transfer transfer(*this, group, listener, Stage::dispatch, Stage::reduce);
    if (block_.spec().packs_rows()) {
      transfer.arrive(transfer.num_waves() - 1);
      enter(listener, Stage::pack);
      block_.pack_rows(team, exchange_->x());
    }
    pass.x = exchange_->x();
    pass.out = exchange_->partial();
    pass.transfer = &transfer;
    block_.forward_routed(pass);
    if (has_shared() && splits()) block_.forward_shared(forward_pass(team, listener));
    combine(group, y_, Stage::reduce, listener);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    enter(listener, Stage::dispatch_grad);
    exchange_->start_y(group);
    BlockPass pass = backward_pass(group.team(), dy_scale, listener);
    if (has_shared()) block_.backward_shared(pass);
    std::fill(partial_dp_.begin(), partial_dp_.end(), 0.0f);
    Transfer transfer(*this, group, listener, Stage::dispatch_grad, Stage::reduce_grad);
    pass.x = exchange_->x();
    pass.y = exchange_->y();
    pass.out = exchange_->partial();
    pass.dp = partial_dp_.data();
    pass.transfer = &transfer;
    block_.backward_routed(pass);
    combine(group, dx_, Stage::reduce_grad, listener);
    return_dp(group);
    count_sent(group, Move::metadata);
    if (shared_gradient_) shared_gradient_->reduce(group);
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    exchange_->spoil_work_space(spoil);
    if (!inputs_.config.block.prequeue) {
      exchange_->spoil_index(spoil);
      route_.spoil(spoil);
    }
    visit_vector(partial_dp_, spoil);
    visit_vector(returned_dp_, spoil);
    // A device without tokens of its own never writes its part, which stays zero.
    if (shared_gradient_ && has_shared()) shared_gradient_->spoil_work_space(spoil);
  }

 private:
  // The rest of a dispatch, and a combine that starts as soon as the peers' sums are complete.
  struct Transfer final : RowTransfer {
    Transfer(RaggedPath& path_of_device, Group& its_group, StageListener* its_listener, Stage dispatches,
             Stage combines)
        : path(path_of_device),
          group(its_group),
          listener(its_listener),
          arrival(dispatches),
          departure(combines) {
      own = path.exchange_->own_rows();
      split = path.splits();
      const RouteWaves* const waves = path.exchange_->waves();
      if (waves == nullptr) return;
      experts = waves->experts();
      token_of = waves->answer_token();
      leaving = waves->answers();
    }
    bool has_arrived(int wave) override {
      return wave < num_arrived || path.exchange_->has_landed(group, wave);
    }
    void arrive(int wave) override {
      if (wave < num_arrived) return;
      num_arrived = wave + 1;
      enter(listener, arrival);
      path.exchange_->land(group, wave);
      path.count_sent(group, Move::dispatch);
    }
    void leave(int wave) override {
      enter(listener, departure);
      path.exchange_->answer(group, wave);
    }
    RaggedPath& path;
    Group& group;
    StageListener* listener;
    Stage arrival, departure;
    int num_arrived = 0;
  };

  // Whether products of the own rows fill the flights of the others'.
  bool splits() const {
    return inputs_.config.spread == Spread::fused && !exchange_->in_place() && block_.spec().can_split_rows();
  }

  // The adjoint of a dispatch: the shared expert's part is in `out` already.
  void combine(Group& group, const MatView& out, Stage stage, StageListener* listener) {
    enter(listener, stage);
    exchange_->finish_combine(group, has_shared() ? out : MatView{}, out);
    count_sent(group, Move::combine);
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
  std::unique_ptr<RowExchange> exchange_;
  std::vector<float> partial_dp_, returned_dp_;  // [rows received, k], [rows sent, k]
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_ragged_path(const PathInputs& inputs) {
  return std::make_unique<RaggedPath>(inputs);
}

}  // namespace moehill
