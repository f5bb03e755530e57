// This file has the paths `ring_ag_rs`, `ragged_a2a`, `fused` and `hierarchical`, which shard tokens and
// experts. Forward brings rows of x to the devices of their experts and partial sums back to the devices of
// the tokens. Backward does the same with rows of dy and of dx. The paths differ only in their RowExchange.
// While rows are on their way the shared expert works on the device's own tokens. So do the routed experts if
// the transfer allows it (RowTransfer::split). Partial sums of dx travel while the device computes the weight
// gradients. parallel/path.h shows how a path is used.
#include <memory>
#include <optional>

#include "moehill/kernels/rows.h"
#include "moehill/parallel/hierarchical_exchange.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/row_route.h"
#include "moehill/parallel/wire_buffers.h"

namespace moehill {
namespace {

// GatherExchange is the exchange of `ring_ag_rs`: it gathers x and y of all tokens on all devices, and a
// reduce-scatter adds f32 partial sums of all tokens. That moves (P-1) T/P rows of H for each device and
// direction, whatever the routing. If devices share an address space, it gathers nothing, and experts read
// rows where they are.
class GatherExchange final : public RowExchange {
 public:
  GatherExchange(const PathInputs& inputs, Group& group)
      : inputs_(inputs), in_place_(group.reach() == Reach::addresses), routing_(*inputs.routing) {
    const MoeShape& shape = inputs.config.shape;
    for (std::vector<int64_t>* offsets : {&value_offsets_, &choice_offsets_, &copy_offsets_, &spare_offsets_})
      offsets->resize(inputs.token_offsets.size());
    routing_.expert.reserve(static_cast<size_t>(shape.assignments()));
    routing_.weight.reserve(static_cast<size_t>(shape.assignments()));
    routing_.spare.reserve(static_cast<size_t>(shape.tokens * num_spares()));
    take_tokens();
    partial_ = {group, shape.tokens, shape.hidden, DType::f32};
    if (in_place_) return;
    x_ = {group, shape.tokens, shape.hidden, shape.dtype};
    if (inputs.config.block.pass == Pass::forward_backward)
      y_ = {group, shape.tokens, shape.hidden, shape.dtype};
  }

  void take_tokens() override {
    const MoeShape& shape = inputs_.config.shape;
    const std::span<const int64_t> begin = inputs_.token_offsets;
    const size_t rank = static_cast<size_t>(inputs_.rank);
    own_ = {begin[rank], begin[rank + 1]};
    others_[0] = {0, own_.begin};
    others_[1] = {own_.end, begin.back()};
    for (size_t r = 0; r < begin.size(); ++r) {
      value_offsets_[r] = begin[r] * shape.hidden;
      choice_offsets_[r] = begin[r] * shape.topk;
      spare_offsets_[r] = begin[r] * num_spares();
      copy_offsets_[r] = static_cast<int64_t>(r) * own_.size();
    }
    routing_.num_tokens = begin.back();
    routing_.expert.resize(static_cast<size_t>(choice_offsets_.back()));
    routing_.weight.resize(static_cast<size_t>(choice_offsets_.back()));
    routing_.spare.resize(static_cast<size_t>(spare_offsets_.back()));
  }

  const Routing& make_route(Group& group) override {
    const size_t first = static_cast<size_t>(choice_offsets_[static_cast<size_t>(group.rank())]);
    const Routing& all = *inputs_.routing;
    group.all_gather(all.expert.data() + first, choice_offsets_, sizeof(int32_t), routing_.expert.data());
    group.all_gather(all.weight.data() + first, choice_offsets_, sizeof(float), routing_.weight.data());
    if (num_spares() == 0) return routing_;
    const size_t first_spare = static_cast<size_t>(spare_offsets_[static_cast<size_t>(group.rank())]);
    group.all_gather(all.spare.data() + first_spare, spare_offsets_, sizeof(int32_t), routing_.spare.data());
    return routing_;
  }
  void describe(RowTransfer& transfer) const override {
    transfer.own = own_;
    transfer.split = inputs_.config.split_rows;
    transfer.leaving = others_;
  }

  void start_x(Group& group) override { start(group, inputs_.x, x_.view); }
  void start_y(Group& group) override { start(group, read_dy(inputs_), y_.view); }
  // If rows are read in place, peers read them here without a copy. That is safe: all rows are written before
  // the barrier, and before any row is written again the devices meet in other collectives.
  void land(Group& group, int) override {
    if (!in_place_) return group.finish();
    group.barrier();
    group.count_reads(copy_offsets_, inputs_.token_offsets, row_bytes(inputs_.config.shape));
  }
  MatView x() const override { return in_place_ ? inputs_.x : of_step(x_); }
  MatView y() const override { return in_place_ ? read_dy(inputs_) : of_step(y_); }
  MatView partial() const override { return of_step(partial_); }
  MatView own_partial() const override { return partial_.view.slice_rows(own_.begin, own_.end); }
  void answer(Group& group, int, const MatView& out) override {
    group.start_reduce_scatter(partial_.view.data, DType::f32, value_offsets_, out.data, out.dtype);
  }
  void finish(Group& group, const MatView&, const MatView&) override { group.finish(); }
  void return_dp(Group& group, float* partial, float* dp) override {
    group.reduce_scatter(partial, DType::f32, choice_offsets_, dp, DType::f32);
  }

  void spoil(const MemoryVisitor& visit, bool route_too) override {
    visit_matrix(partial_.view, visit);
    visit_matrix(y_.view, visit);
    if (!route_too) return;
    visit_matrix(x_.view, visit);
    spoil_routing(routing_, visit);
  }

 private:
  int num_spares() const { return inputs_.config.block.capacity.spares; }
  MatView of_step(const ExchangeRows& rows) const { return rows.view.slice_rows(0, routing_.num_tokens); }
  void start(Group& group, const MatView& resident, const MatView& all) {
    if (in_place_) return;
    const MatView place = all.slice_rows(own_.begin, own_.end);
    gather_rows(group.team(), {resident.slice_rows(own_.begin, own_.end)}, place);
    group.start_all_gather(place.data, inputs_.token_offsets, row_bytes(inputs_.config.shape), all.data);
  }

  const PathInputs& inputs_;
  const bool in_place_;
  Routing routing_;  // gathered from all devices
  Range own_, others_[2];
  std::vector<int64_t> value_offsets_, choice_offsets_,
      spare_offsets_;  // [P + 1]: tokens times H, k and spares
  // [P + 1] Offsets of the own rows, which each device reads once.
  std::vector<int64_t> copy_offsets_;
  ExchangeRows x_, y_;    // [T, H]; empty if rows are read in place
  ExchangeRows partial_;  // [T, H] f32
};

// RoutedExchange is the common part of `ragged_a2a` and `fused`. A token's row goes once to every device that
// holds one of its experts. That device sums the rows of its experts and returns one row, and the token's
// device adds the returned rows in the order of devices. So only the rows that the routing needs move.
class RoutedExchange : public RowExchange {
 public:
  explicit RoutedExchange(const PathInputs& inputs)
      : inputs_(inputs), route_(inputs.config, *inputs.routing, inputs.rank) {
    RoutedExchange::take_tokens();
    if (inputs.config.block.pass != Pass::forward_backward) return;
    returned_dp_.resize(
        static_cast<size_t>(RaggedRoute::max_sent(inputs.config, inputs.rank) * inputs.config.shape.topk));
  }

  void take_tokens() override { route_.bind(*inputs_.routing, inputs_.token_offsets); }
  const Routing& make_route(Group& group) override {
    route_.make(group);
    make_index(group);
    return route_.received();
  }

  void return_dp(Group& group, float* partial, float* dp) override {
    route_.return_values(group, partial, returned_dp_, dp);
  }

  void spoil(const MemoryVisitor& visit, bool route_too) override {
    visit_vector(returned_dp_, visit);
    if (route_too) route_.spoil(visit);
  }

 protected:
  virtual void make_index(Group& group) = 0;  // called after the route of the step was made

  const PathInputs& inputs_;
  RaggedRoute route_;

 private:
  std::vector<float> returned_dp_;  // [rows sent, k]
};

// DirectExchange is the exchange of `fused` if devices share an address space. Experts read x and y in the
// memory of the tokens' devices, and these devices read the partial sums in the memory of the experts'
// devices. Rows that are read in place cannot have another type on the way; with --wire they are sent
// (MessageExchange). Two barriers in each pass keep this safe. After the barrier of land(), y is complete on
// all devices and no device reads the partial sums of the last pass. After the barrier of finish(), the
// partial sums are complete and no device reads y.
class DirectExchange final : public RoutedExchange {
 public:
  DirectExchange(const PathInputs& inputs, std::shared_ptr<void> memory)
      : RoutedExchange(inputs), memory_(std::move(memory)) {
    const MoeShape& shape = inputs.config.shape;
    all_partial_ = {memory_.get(), shape.dtype, partial_begin(inputs.config, inputs.config.num_devices),
                    shape.hidden, shape.hidden};
    const int64_t max_own = result_tokens(inputs.config, inputs.rank).size();
    partial_row_.resize(static_cast<size_t>(max_own * inputs.config.num_devices));
  }

  // Returns where the partial sums of a device begin among the partial sums of all devices.
  static int64_t partial_begin(const RunConfig& config, int device) {
    int64_t begin = 0;
    for (int d = 0; d < device; ++d) begin += RaggedRoute::max_received(config, d);
    return begin;
  }

  const int32_t* row_of_token() const override { return route_.received_token(); }

  void land(Group& group, int) override {
    group.barrier();
    group.count_reads(route_.send_offsets(), route_.receive_offsets(), row_bytes(inputs_.config.shape));
  }
  MatView x() const override { return inputs_.x; }
  MatView y() const override { return read_dy(inputs_); }
  MatView partial() const override {
    const int64_t begin = partial_begin(inputs_.config, inputs_.rank);
    return all_partial_.slice_rows(begin, begin + route_.num_received());
  }
  void finish(Group& group, const MatView& base, const MatView& out) override {
    group.barrier();
    combine_rows(group.team(), {all_partial_, partial_row_.data(), nullptr, group.size(), base}, out);
    group.count_reads(route_.receive_offsets(), route_.send_offsets(), row_bytes(inputs_.config.shape));
  }

  void spoil(const MemoryVisitor& visit, bool route_too) override {
    visit_matrix(partial(), visit);
    if (route_too) visit_vector(partial_row_, visit);
    RoutedExchange::spoil(visit, route_too);
  }

 private:
  void make_index(Group& group) override {
    route_.exchange_places(group);
    const int devices = inputs_.config.num_devices;
    const int64_t num_own = route_.own().size() / inputs_.config.shape.topk;
    for (int d = 0; d < devices; ++d) {
      // The route numbers a row among the rows sent to device d. The shift turns this number into a row of
      // the common memory, in which the rows from this device begin at partial_begin() + place_at() of device
      // d.
      const int64_t shift = partial_begin(inputs_.config, d) + route_.place_at(d) -
                            route_.send_offsets()[static_cast<size_t>(d)];
      for (int64_t t = 0; t < num_own; ++t) {
        const int64_t i = t * devices + d;
        const int32_t row = route_.row_at_device()[i];
        partial_row_[static_cast<size_t>(i)] = row < 0 ? -1 : static_cast<int32_t>(row + shift);
      }
    }
  }

  std::shared_ptr<void> memory_;
  MatView all_partial_{};             // [rows of all devices, H]; each device writes its own
  std::vector<int32_t> partial_row_;  // [n, P] the row of an own token's partial sum from a device, or -1
};

// MessageExchange sends rows in round trips: the sender packs them, one copy or message moves them, and sums
// come back in the same way. With `fused` the own rows are there from the start, and rows to other nodes
// travel in waves of experts.
class MessageExchange final : public RoutedExchange {
 public:
  MessageExchange(const PathInputs& inputs, const BlockSpec& spec, Group& group)
      : RoutedExchange(inputs),
        fused_(inputs.config.spread == Spread::fused),
        splits_(fused_ && spec.can_split_rows()),
        rank_(static_cast<size_t>(inputs.rank)),
        waves_(inputs.config, route_, inputs.rank, splits_ ? num_waves(inputs.config, group) : 1),
        wire_(inputs.config, group, RaggedRoute::max_sent(inputs.config, inputs.rank),
              RaggedRoute::max_received(inputs.config, inputs.rank)) {
    const MoeShape& shape = inputs.config.shape;
    sent_ = {group, RaggedRoute::max_sent(inputs.config, inputs.rank), shape.hidden, shape.dtype};
    returned_ = {group, sent_.view.rows, shape.hidden, shape.dtype};
    const int64_t received = RaggedRoute::max_received(inputs.config, inputs.rank);
    x_ = {group, received, shape.hidden, shape.dtype};
    partial_ = {group, received, shape.hidden, shape.dtype};
    if (spec.has_backward()) y_ = {group, received, shape.hidden, shape.dtype};
  }

  const int32_t* row_of_token() const override { return waves_.received_row(); }
  void describe(RowTransfer& transfer) const override {
    transfer.own = own_rows();
    transfer.split = splits_;
    transfer.experts = waves_.experts();
    transfer.token_of = waves_.answer_token();
    transfer.leaving = waves_.answers();
  }

  void start_x(Group& group) override { start(group, own_rows_of(inputs_.x), x_.view); }
  void start_y(Group& group) override { start(group, own_rows_of(read_dy(inputs_)), y_.view); }
  bool has_landed(Group& group, int wave) override { return group.has_landed(wave); }
  void land(Group& group, int wave) override {
    group.await(wave);
    const size_t from = static_cast<size_t>(num_landed_), to = static_cast<size_t>(wave) + 1;
    num_landed_ = wave + 1;
    wire_.unpack(
        group.team(),
        [&](int r) {
          const int64_t* const cuts = waves_.received_cuts().data() +
                                      static_cast<size_t>(r) * static_cast<size_t>(waves_.num_waves() + 1);
          return Range{cuts[from], cuts[to]};
        },
        coming_);
  }
  MatView x() const override { return received(x_); }
  MatView y() const override { return received(y_); }
  MatView partial() const override { return received(partial_); }
  void answer(Group& group, int wave, const MatView&) override { group.answer(wave); }
  void finish(Group& group, const MatView& base, const MatView& out) override {
    group.finish_round_trip();
    combine_rows(group.team(), {sent(returned_), waves_.answered_row(), nullptr, group.size(), base}, out);
  }

  void spoil(const MemoryVisitor& visit, bool route_too) override {
    for (const ExchangeRows* rows : {&sent_, &returned_}) visit_matrix(sent(*rows), visit);
    for (const ExchangeRows* rows : {&x_, &y_, &partial_}) {
      if (rows->memory != nullptr) visit_matrix(received(*rows), visit);
    }
    wire_.spoil(visit, route_.num_sent(), route_.num_received());
    if (route_too) waves_.spoil(visit);
    RoutedExchange::spoil(visit, route_too);
  }

 private:
  static int num_waves(const RunConfig& config, const Group& group) {
    if (config.num_waves > 0) return config.num_waves;
    return group.reach() == Reach::messages ? default_waves(config) : 1;
  }

  void make_index(Group&) override { waves_.make(); }
  MatView own_rows_of(const MatView& all) const {
    return all.slice_rows(inputs_.token_offsets[rank_], inputs_.token_offsets[rank_ + 1]);
  }
  MatView sent(const ExchangeRows& rows) const { return rows.view.slice_rows(0, route_.num_sent()); }
  MatView received(const ExchangeRows& rows) const { return rows.view.slice_rows(0, route_.num_received()); }
  Range own_rows() const { return {route_.receive_offsets()[rank_], route_.receive_offsets()[rank_ + 1]}; }

  void start(Group& group, const MatView& own, const MatView& all) {
    coming_ = all;
    num_landed_ = 0;
    wire_.pack(group.team(), {own, waves_.sent_token()}, route_.send_offsets(), sent(sent_));
    // The experts can begin with the own rows while the others are under way.
    if (fused_) {
      const Range rows = own_rows();
      gather_rows(group.team(), {own, waves_.sent_token() + route_.send_offsets()[rank_]},
                  all.slice_rows(rows.begin, rows.end));
    }
    group.start_round_trip({.num_parts = waves_.num_waves(),
                            .row_bytes = row_bytes(inputs_.config.shape),
                            .send_offsets = route_.send_offsets(),
                            .receive_offsets = route_.receive_offsets(),
                            .sent = sent_.view.data,
                            .received = all.data,
                            .answer = partial_.view.data,
                            .answered = returned_.view.data,
                            .sent_cuts = waves_.sent_cuts(),
                            .received_cuts = waves_.received_cuts(),
                            .answer_cuts = waves_.answer_cuts(),
                            .answered_cuts = waves_.answered_cuts(),
                            .far = wire_.far()});
  }

  const bool fused_, splits_;
  const size_t rank_;
  RouteWaves waves_;
  WireBuffers wire_;
  MatView coming_{};              // x_ or y_: the rows that are on their way
  int num_landed_ = 0;            // number of waves that were awaited in this pass
  ExchangeRows sent_, returned_;  // [rows sent, H]
  ExchangeRows x_, y_;            // [rows received, H]; y of backward
  ExchangeRows partial_;          // [rows received, H] this device's part of y, then of dx
};

// Chooses the exchange of a path. `fused` reads rows in place if it can and if devices share memory.
std::unique_ptr<RowExchange> make_exchange(const PathInputs& inputs, const BlockSpec& spec, Group& group) {
  const RunConfig& config = inputs.config;
  if (config.spread == Spread::ring_ag_rs) return std::make_unique<GatherExchange>(inputs, group);
  if (config.spread == Spread::hierarchical) return make_hierarchical_exchange(inputs, spec, group);
  if (reads_in_place(config)) {
    const auto rows = static_cast<size_t>(DirectExchange::partial_begin(config, group.size()));
    std::shared_ptr<void> memory = group.common_memory(rows * row_bytes(config.shape));
    if (memory != nullptr) return std::make_unique<DirectExchange>(inputs, std::move(memory));
  }
  return std::make_unique<MessageExchange>(inputs, spec, group);
}

// ShardedPath is the path over any RowExchange.
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
    take_zero_experts(group.team());
    const Routing& received = exchange_->make_route(group);
    count_sent(group, Move::metadata);
    block_.make_plan(group.team(), limited(received));
  }

  void forward(Group& group, StageListener* listener) override {
    ThreadTeam& team = group.team();
    Transfer transfer(*this, group, listener, false);
    BlockPass shared = forward_pass(team, listener);
    shared.out = transfer.shared_out();
    // If the routed experts can begin with the rows that are here, the shared expert works at the end, while
    // sums travel back. Otherwise it works at the start, while rows travel to their experts.
    const bool shared_last = transfer.split && !sums_shared();
    if (has_own() && !shared_last) forward_own(shared);
    if (block_.spec().packs_rows()) {
      transfer.arrive(transfer.num_waves() - 1);
      if (begins(listener, block_.spec().left_out, Stage::pack)) block_.pack_rows(team, exchange_->x());
    }
    block_.forward_routed(over_received(shared, transfer));
    if (has_own() && shared_last) forward_own(shared);
    transfer.finish();
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    Transfer transfer(*this, group, listener, true);
    BlockPass shared = backward_pass(group.team(), dy_scale, listener);
    shared.out = transfer.shared_out();
    if (has_own()) backward_own(shared);
    std::fill(partial_dp_.begin(), partial_dp_.end(), 0.0f);
    BlockPass routed = over_received(shared, transfer);
    routed.y = exchange_->y();
    routed.dp = partial_dp_.data();
    block_.backward_routed(routed);
    transfer.finish();
    float* const dp = inputs_.dp + own_tokens().begin * inputs_.config.shape.topk;
    exchange_->return_dp(group, partial_dp_.data(), dp);
    make_zero_dp(group.team(), dy_scale, dp);
    count_sent(group, Move::metadata);
    // From here on gradients of weights travel: of copies of experts, and of the shared expert.
    sum_copies(group);
    if (shared_gradient_) shared_gradient_->reduce(group, has_shared());
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    exchange_->spoil(spoil, !inputs_.config.block.prequeue);
    visit_vector(partial_dp_, spoil);
    if (shared_gradient_) shared_gradient_->spoil_work_space(spoil);
  }

 private:
  void take_tokens() override {
    block_.set_tokens(num_tokens(), {0, own_tokens().size()});
    if (exchange_ != nullptr) exchange_->take_tokens();
  }

  // Transfer brings the rows of one pass on their way, from the start to finish(). The block calls it wave by
  // wave, and it reports stages and counts bytes for the path.
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
      exchange.finish(group, path.has_own() && !path.sums_shared() ? out() : MatView{}, out());
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

  // True if the shared expert's rows lie among the partial sums.
  bool sums_shared() const { return exchange_->own_partial().data != nullptr; }

  // Returns the pass over the rows that this device receives.
  BlockPass over_received(BlockPass pass, Transfer& transfer) const {
    pass.x = exchange_->x();
    pass.out = exchange_->partial();
    pass.transfer = &transfer;
    if (sums_shared() && adds_own()) pass.base = only_rows(pass.team, pass.out, own_tokens());
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
