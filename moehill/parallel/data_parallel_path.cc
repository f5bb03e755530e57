// This file has the path `dp`: tokens are sharded and experts replicated. Every device does the whole block
// for its own tokens, and no rows travel. The backward pass ends with an all-reduce of all weight gradients.
// parallel/path.h shows how a path is used.
#include "moehill/parallel/path.h"
#include "moehill/parallel/row_route.h"

namespace moehill {
namespace {

class DataParallelPath final : public ParallelPath {
 public:
  explicit DataParallelPath(const PathInputs& inputs)
      : ParallelPath(inputs), own_(own_tokens()), assignments_(inputs.config, *inputs.routing, own_) {
    const MoeShape& shape = inputs.config.shape;
    routing_ = {own_.size(), shape.experts + 1, shape.topk, {}, {}};
    take_tokens();
    // The first device writes to the gradients of the run; the others need memory for their part of the sum.
    if (!backward_too() || inputs.rank == 0 || inputs.own_results) return;
    const WeightKey key = weight_key(inputs.config);
    experts_grad_ = make_mlp(key.expert_storage());
    shared_grad_ = make_mlp(key.shared_storage());
    weights_.routed_grad = experts_grad_.view;
    weights_.shared_grad = shared_grad_.view;
  }

  void make_plan(Group& group, StageListener* listener) override {
    enter(listener, Stage::plan);
    take_zero_experts(group.team());
    assignments_.drop(group);
    count_sent(group, Move::metadata);
    // The capacity belongs to the whole problem, so drop() above has decided which assignments are dropped.
    // Here a dropped assignment goes to one more expert, which no device has.
    const int nobody = inputs_.config.shape.experts;
    for (int64_t i = 0; i < assignments_.size(); ++i) {
      routing_.expert[static_cast<size_t>(i)] = assignments_.kept(i) ? assignments_.expert(i) : nobody;
      routing_.weight[static_cast<size_t>(i)] = assignments_.weight(i);
    }
    block_.make_plan(group.team(), routing_);
    const BlockSpec& spec = block_.spec();
    if (!spec.packs_rows() || !begins(listener, spec.left_out, Stage::pack)) return;
    block_.pack_rows(group.team(), x_);
  }

  void forward(Group& group, StageListener* listener) override {
    if (own_.size() > 0) forward_alone(group.team(), listener);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    if (own_.size() > 0) {
      backward_alone(group.team(), dy_scale, inputs_.dp + own_.begin * inputs_.config.shape.topk, listener);
    } else {
      // A device without tokens adds nothing to the sum. Its gradients still hold the sum of the last step,
      // so they are cleared.
      clear(weights_.routed_grad);
      clear(weights_.shared_grad);
    }
    enter(listener, Stage::reduce_grad);
    sum(group, weights_.routed_grad);
    sum(group, weights_.shared_grad);
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    if (inputs_.config.block.prequeue) return;
    assignments_.spoil();
    spoil_routing(routing_, spoil);
  }

  void visit_replicas(const MemoryVisitor& visit) override {
    if (!backward_too()) return;
    weights_.routed_grad.visit(visit);
    weights_.shared_grad.visit(visit);
  }

 private:
  void take_tokens() override {
    own_ = own_tokens();
    assignments_.bind(*inputs_.routing, own_);
    routing_.num_tokens = own_.size();
    routing_.expert.resize(static_cast<size_t>(assignments_.size()));
    routing_.weight.resize(routing_.expert.size());
    block_.set_tokens(own_.size(), {0, own_.size()});
  }

  static void sum(Group& group, const MlpWeights& gradient) {
    for (const WeightView* part : gradient.parts()) {
      if (part->data == nullptr) continue;
      group.all_reduce(part->data, part->dtype, part->data, part->dtype,
                       part->num_groups * part->group_elements());
    }
  }

  Range own_;
  OwnAssignments assignments_;
  Routing routing_;  // [n, k] of the own tokens; dropped assignments go to the expert that no device has
  OwnedMlp experts_grad_, shared_grad_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_data_parallel_path(const PathInputs& inputs) {
  return std::make_unique<DataParallelPath>(inputs);
}

}  // namespace moehill
