// `ring_ag_rs`: tokens and experts sharded. Forward: all-gather of x, the device's experts over all tokens,
// reduce-scatter of the partial sums back to the tokens' devices; backward the same with dy and dx. Moves
// (P-1) T/P rows of H a device each way, whatever the routing.
//
// While rows are in flight the shared expert works on the device's own tokens, whose result is added to its
// own partial sums, and with `split_rows` so do the routed experts; partial sums of dx travel during the
// weights' gradients. Where devices share an address space nothing is gathered: rows are read where they are.
#include <optional>

#include "moehill/kernels/rows.h"
#include "moehill/parallel/shared_gradient.h"

namespace moehill {
namespace {

class GatherPath final : public ParallelPath {
 public:
  explicit GatherPath(const PathInputs& inputs)
      : ParallelPath(inputs), own_(result_tokens(inputs.config, inputs.rank)), routing_(*inputs.routing) {
    const MoeShape& shape = inputs.config.shape;
    for (int r = 0; r <= inputs.config.num_devices; ++r) {
      const int64_t begin =
          r < inputs.config.num_devices ? result_tokens(inputs.config, r).begin : shape.tokens;
      token_offsets_.push_back(begin);
      value_offsets_.push_back(begin * shape.hidden);
      choice_offsets_.push_back(begin * shape.topk);
      copy_offsets_.push_back(r * own_.size());
    }
    if (!backward_too()) return;
    dp_.resize(static_cast<size_t>(shape.assignments()));
    if (shape.shared_dim == 0) return;
    shared_gradient_.emplace(inputs);
    weights_.shared_grad = shared_gradient_->part();
  }

  void prepare(Group& group) override {
    const DType dtype = inputs_.config.shape.dtype;
    in_place_ = group.reach() == Reach::addresses;
    partial_ = make_rows(group, DType::f32);
    all_x_ = in_place_ ? inputs_.x : make_rows(group, dtype);
    if (backward_too()) all_y_ = in_place_ ? inputs_.y : make_rows(group, dtype);
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
    ThreadTeam& team = group.team();
    enter(listener, Stage::dispatch);
    start_gather(group, inputs_.x, all_x_);
    BlockPass pass = forward_pass(team, listener);
    pass.out = own_partial();
    if (has_shared()) block_.forward_shared(pass);
    if (block_.spec().packs_rows()) {
      finish_gather(group, Stage::dispatch, listener);
      enter(listener, Stage::pack);
      block_.pack_rows(team, all_x_);
    }
    Transfer transfer(*this, group, listener, Stage::dispatch, Stage::reduce, y_);
    pass.x = all_x_;
    pass.base = base(team);
    pass.out = partial_;
    pass.transfer = &transfer;
    block_.forward_routed(pass);
    finish_reduce(group, Stage::reduce, listener);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    ThreadTeam& team = group.team();
    enter(listener, Stage::dispatch_grad);
    start_gather(group, inputs_.y, all_y_);
    BlockPass pass = backward_pass(team, dy_scale, listener);
    pass.out = own_partial();
    pass.dp = dp_.data();
    if (has_shared()) block_.backward_shared(pass);
    std::fill(dp_.begin(), dp_.end(), 0.0f);
    Transfer transfer(*this, group, listener, Stage::dispatch_grad, Stage::reduce_grad, dx_);
    pass.x = all_x_;
    pass.y = all_y_;
    pass.base = base(team);
    pass.out = partial_;
    pass.transfer = &transfer;
    block_.backward_routed(pass);
    finish_reduce(group, Stage::reduce_grad, listener);
    const int64_t first = choice_offsets_[static_cast<size_t>(group.rank())];
    group.reduce_scatter(dp_.data(), DType::f32, choice_offsets_, inputs_.dp + first, DType::f32);
    count_sent(group, Move::metadata);
    if (shared_gradient_) shared_gradient_->reduce(group);
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    visit_matrix(partial_, spoil);
    visit_vector(dp_, spoil);
    if (!inputs_.config.block.prequeue) spoil_routing(routing_, spoil);
    // A device without tokens of its own never writes its part, which stays zero.
    if (shared_gradient_ && has_shared()) shared_gradient_->spoil_work_space(spoil);
    if (in_place_) return;
    if (!inputs_.config.block.prequeue) visit_matrix(all_x_, spoil);
    visit_matrix(all_y_, spoil);
  }

 private:
  // The rest of a gather, and a reduction that starts as soon as the peers' sums are complete.
  struct Transfer final : RowTransfer {
    Transfer(GatherPath& path_of_device, Group& its_group, StageListener* its_listener, Stage gathers,
             Stage reduces, const MatView& output)
        : path(path_of_device),
          group(its_group),
          listener(its_listener),
          arrival(gathers),
          reduction(reduces),
          out(output) {
      own = path.own_;
      split = path.inputs_.config.split_rows;
      leaving = others;
      others[0] = {0, own.begin};
      others[1] = {own.end, path.inputs_.config.shape.tokens};
    }
    void arrive(int) override { path.finish_gather(group, arrival, listener); }
    void leave(int) override {
      enter(listener, reduction);
      const MatView& partial = path.partial_;
      group.start_reduce_scatter(partial.data, DType::f32, path.value_offsets_, out.data, out.dtype);
    }
    GatherPath& path;
    Group& group;
    StageListener* listener;
    Stage arrival, reduction;
    MatView out;
    Range others[2];
  };

  // [T, H] in memory that the peers of the node reach.
  MatView make_rows(Group& group, DType dtype) {
    const MoeShape& shape = inputs_.config.shape;
    const MatView rows{nullptr, dtype, shape.tokens, shape.hidden, shape.hidden};
    memory_.push_back(group.exchange_memory(static_cast<size_t>(rows.rows * rows.cols) * dtype_bytes(dtype)));
    return {memory_.back().get(), dtype, rows.rows, rows.cols, rows.stride};
  }

  // Rows of `resident` of which this device has its own tokens' are gathered in `all`.
  void start_gather(Group& group, const MatView& resident, const MatView& all) {
    gathering_ = true;
    if (in_place_) return;
    const MatView place = all.slice_rows(own_.begin, own_.end);
    gather_rows(group.team(), {resident.slice_rows(own_.begin, own_.end)}, place);
    group.start_all_gather(place.data, token_offsets_, row_bytes(), all.data);
  }

  // All rows of the peers are written before any of them reads here, and read before any is written again:
  // other collectives lie between.
  void finish_gather(Group& group, Stage stage, StageListener* listener) {
    if (!gathering_) return;
    gathering_ = false;
    enter(listener, stage);
    if (in_place_) {
      group.barrier();
      group.count_reads(copy_offsets_, token_offsets_, row_bytes());
    } else {
      group.finish();
    }
    count_sent(group, Move::dispatch);
  }

  void finish_reduce(Group& group, Stage stage, StageListener* listener) {
    enter(listener, stage);
    group.finish();
    count_sent(group, Move::combine);
  }

  MatView own_partial() const { return partial_.slice_rows(own_.begin, own_.end); }
  size_t row_bytes() const { return static_cast<size_t>(all_x_.cols) * dtype_bytes(all_x_.dtype); }

  // What the routed experts add to: the shared expert's rows at the own tokens, zero elsewhere.
  MatView base(ThreadTeam& team) const {
    if (inputs_.config.shape.shared_dim == 0) return {};
    return only_rows(team, partial_, own_);
  }

  Range own_;
  Routing routing_;                                                      // as gathered
  std::vector<int64_t> token_offsets_, value_offsets_, choice_offsets_;  // [P + 1]: tokens, x H, x k
  std::vector<int64_t> copy_offsets_;  // [P + 1] of the own rows, once a device
  bool in_place_ = false, gathering_ = false;
  std::vector<std::shared_ptr<void>> memory_;
  MatView all_x_{}, all_y_{};  // [T, H]
  MatView partial_{};          // [T, H] f32
  std::vector<float> dp_;      // [T k] of this device's experts
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_gather_path(const PathInputs& inputs) {
  return std::make_unique<GatherPath>(inputs);
}

}  // namespace moehill
