// `ring_ag_rs`, `ragged_a2a` and `fused`: tokens and experts sharded. Forward brings rows of x to the devices
// of their experts and partial sums back to the tokens' devices; backward the same with rows of dy and of dx.
// The three differ in their RowExchange.
//
// While rows are in flight the shared expert works on the device's own tokens, and so do the routed experts
// where the transfer says so (RowTransfer::split); partial sums of dx travel during the weights' gradients.
#include <optional>

#include "moehill/parallel/row_exchange.h"

namespace moehill {
namespace {

class ShardedPath final : public ParallelPath {
 public:
  explicit ShardedPath(const PathInputs& inputs) : ParallelPath(inputs) {
    take_tokens();
    if (!backward_too()) return;
    partial_dp_.resize(static_cast<size_t>(inputs.config.shape.assignments()));
    if (inputs.config.shape.shared_dim == 0) return;
    shared_gradient_.emplace(inputs);
    weights_.shared_grad = shared_gradient_->part();
  }

  void prepare(Group& group) override {
    exchange_ = make_exchange(inputs_, block_.spec(), group);
    block_.read_rows_at(exchange_->row_of_token());
  }

  void make_plan(Group& group, StageListener* listener) override {
    enter(listener, Stage::plan);
    const Routing& received = exchange_->make_route(group);
    count_sent(group, Move::metadata);
    block_.make_plan(group.team(), received);
  }

  void forward(Group& group, StageListener* listener) override {
    ThreadTeam& team = group.team();
    Transfer transfer(*this, group, listener, false);
    BlockPass shared = forward_pass(team, listener);
    shared.out = transfer.shared_out();
    const bool shared_last = transfer.split && !sums_shared();
    if (has_shared() && !shared_last) block_.forward_shared(shared);
    if (block_.spec().packs_rows()) {
      transfer.arrive(transfer.num_waves() - 1);
      enter(listener, Stage::pack);
      block_.pack_rows(team, exchange_->x());
    }
    block_.forward_routed(over_received(shared, transfer));
    if (has_shared() && shared_last) block_.forward_shared(shared);
    transfer.finish();
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    Transfer transfer(*this, group, listener, true);
    BlockPass shared = backward_pass(group.team(), dy_scale, listener);
    shared.out = transfer.shared_out();
    if (has_shared()) block_.backward_shared(shared);
    std::fill(partial_dp_.begin(), partial_dp_.end(), 0.0f);
    BlockPass routed = over_received(shared, transfer);
    routed.y = exchange_->y();
    routed.dp = partial_dp_.data();
    block_.backward_routed(routed);
    transfer.finish();
    exchange_->return_dp(group, partial_dp_.data(),
                         inputs_.dp + own_tokens().begin * inputs_.config.shape.topk);
    count_sent(group, Move::metadata);
    if (shared_gradient_) shared_gradient_->reduce(group);
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    exchange_->spoil(spoil, !inputs_.config.block.prequeue);
    visit_vector(partial_dp_, spoil);
    // A device without tokens of its own never writes its part, which stays zero.
    if (shared_gradient_ && has_shared()) shared_gradient_->spoil_work_space(spoil);
  }

 private:
  void take_tokens() override {
    block_.set_tokens(num_tokens(), {0, own_tokens().size()});
    if (exchange_ != nullptr) exchange_->take_tokens();
  }

  // The rows of one pass on their way, from a start to finish().
  struct Transfer final : RowTransfer {
    Transfer(ShardedPath& path_of_device, Group& its_group, StageListener* its_listener, bool is_backward)
        : path(path_of_device),
          exchange(*path_of_device.exchange_),
          group(its_group),
          listener(its_listener),
          backward(is_backward) {
      enter(listener, backward ? Stage::dispatch_grad : Stage::dispatch);
      backward ? exchange.start_y(group) : exchange.start_x(group);
      exchange.describe(*this);
    }
    bool has_arrived(int wave) override { return wave < num_arrived || exchange.has_landed(group, wave); }
    void arrive(int wave) override {
      if (wave < num_arrived) return;
      num_arrived = wave + 1;
      enter(listener, backward ? Stage::dispatch_grad : Stage::dispatch);
      exchange.land(group, wave);
      path.count_sent(group, Move::dispatch);
    }
    void leave(int wave) override {
      enter(listener, backward ? Stage::reduce_grad : Stage::reduce);
      exchange.answer(group, wave, out());
    }
    void finish() {
      enter(listener, backward ? Stage::reduce_grad : Stage::reduce);
      exchange.finish(group, path.has_shared() && !path.sums_shared() ? out() : MatView{}, out());
      path.count_sent(group, Move::combine);
    }
    const MatView& out() const { return backward ? path.dx_ : path.y_; }
    MatView shared_out() const { return path.sums_shared() ? exchange.own_partial() : out(); }

    ShardedPath& path;
    RowExchange& exchange;
    Group& group;
    StageListener* listener;
    bool backward;
    int num_arrived = 0;
  };

  // True if the partial sums have the shared expert's rows among them.
  bool sums_shared() const { return exchange_->own_partial().data != nullptr; }

  // The pass over the rows that this device receives.
  BlockPass over_received(BlockPass pass, Transfer& transfer) const {
    pass.x = exchange_->x();
    pass.out = exchange_->partial();
    pass.transfer = &transfer;
    if (sums_shared() && inputs_.config.shape.shared_dim > 0)
      pass.base = only_rows(pass.team, pass.out, own_tokens());
    return pass;
  }

  std::unique_ptr<RowExchange> exchange_;
  std::vector<float> partial_dp_;  // [rows received, k]
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_sharded_path(const PathInputs& inputs) {
  return std::make_unique<ShardedPath>(inputs);
}

}  // namespace moehill
