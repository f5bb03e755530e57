// This file has the paths `compact_psum` and `dense_masked`: tokens are replicated, experts are sharded, and
// one all-reduce forward and one backward sum the results, as in the reference implementation. The two differ
// only in the plan (PlanScope). A compact plan has the rows of a device's own experts. A masked plan has all
// rows, and computes the rows of other devices' experts with the gate value 0.
//
// The shared expert has two placements. `sliced` gives each device a slice of the tokens and lets the same
// all-reduce carry the result; its weight gradients then need a sum over devices of their own. `replicated`
// is the way of the reference: every device computes the shared expert for all tokens.
//
// No rows are routed between devices here (sharded_path.cc does that). parallel/path.h shows how a path is
// used.
#include <optional>

#include "moehill/kernels/rows.h"
#include "moehill/parallel/path.h"

namespace moehill {
namespace {

class PsumPath final : public ParallelPath {
 public:
  explicit PsumPath(const PathInputs& inputs)
      : ParallelPath(inputs), sliced_(inputs.config.shared_placement == SharedPlacement::sliced) {
    const MoeShape& shape = inputs.config.shape;
    memory_ = Matrix::tight(shape.tokens, shape.hidden, DType::f32);
    dp_.resize(static_cast<size_t>(shape.assignments()));
    if (backward_too() && shape.shared_dim > 0 && (sliced_ || inputs.rank > 0)) {
      shared_gradient_.emplace(inputs);
      weights_.shared_grad = shared_gradient_->part();
    }
    if (keeps_own_results()) make_own_results(shape);
    take_tokens();
  }

  void forward(Group& group, StageListener* listener) override {
    BlockPass pass = forward_pass(group.team(), listener);
    pass.out = shared_out(y_);
    if (has_own()) forward_own(pass);
    pass.base = base(group.team());
    pass.out = partial_;
    block_.forward_routed(pass);
    enter(listener, Stage::reduce);
    reduce(group, has_own() && !sliced_, y_);
    count_sent(group, Move::combine);
  }

  void backward(Group& group, float dy_scale, StageListener* listener) override {
    clear_unwritten();
    BlockPass pass = backward_pass(group.team(), dy_scale, listener);
    pass.out = shared_out(dx_);
    pass.dp = dp_.data();
    if (has_own()) backward_own(pass);
    pass.base = base(group.team());
    pass.out = partial_;
    std::fill(dp_.begin(), dp_.end(), 0.0f);
    block_.backward_routed(pass);
    // With sliced tokens each zero expert's choice is computed on one device. With replicated tokens every
    // device computes it, and only the first may count it.
    if (sliced_ || group.rank() == 0) make_zero_dp(group.team(), dy_scale, dp_.data());
    enter(listener, Stage::reduce_grad);
    reduce(group, has_own() && !sliced_, dx_);
    count_sent(group, Move::combine);
    group.all_reduce(dp_.data(), DType::f32, dp_sum_, DType::f32, num_assignments());
    count_sent(group, Move::metadata);
    sum_copies(group);
    if (sliced_ && shared_gradient_) shared_gradient_->reduce(group, has_shared());
    count_sent(group, Move::gradients);
  }

  void spoil_work_space(const MemoryVisitor& spoil) override {
    ParallelPath::spoil_work_space(spoil);
    visit_matrix(partial_, spoil);
    visit_vector(dp_, spoil);
    if (shared_gradient_) shared_gradient_->spoil_work_space(spoil);
  }

  void visit_replicas(const MemoryVisitor& visit) override {
    visit_matrix(y_, visit);
    if (!backward_too()) return;
    visit_matrix(dx_, visit);
    visit(dp_sum_, static_cast<size_t>(num_assignments()) * sizeof(float));
    if (!sliced_) weights_.shared_grad.visit(visit);
  }

 private:
  // Every device ends with all results. Rank 0 writes the run's own tensors; the others need memory for
  // theirs.
  bool keeps_own_results() const { return inputs_.rank > 0 && !inputs_.own_results; }
  void make_own_results(const MoeShape& shape) {
    own_y_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    own_dx_ = Matrix::tight(shape.tokens, shape.hidden, shape.dtype);
    own_dp_.resize(dp_.size());
  }

  void take_tokens() override {
    partial_ = memory_.view().slice_rows(0, num_tokens());
    dp_sum_ = inputs_.dp;
    block_.set_tokens(num_tokens(), sliced_ ? own_tokens() : Range{0, num_tokens()});
    if (!keeps_own_results()) return;
    y_ = own_y_.view().slice_rows(0, num_tokens());
    dx_ = own_dx_.view().slice_rows(0, num_tokens());
    if (inputs_.dy.data == nullptr) dy_ = y_;
    dp_sum_ = own_dp_.data();
  }

  // Returns where the shared expert's rows go. If it is sliced they go to the partial sums; otherwise to the
  // output, to which the sum over devices is added later.
  MatView shared_out(const MatView& out) const {
    const Range tokens = block_.spec().share.shared_tokens;
    return sliced_ ? partial_.slice_rows(tokens.begin, tokens.end) : out;
  }
  // Returns the rows to which the routed experts' sums are added.
  MatView base(ThreadTeam& team) const {
    if (!sliced_ || !adds_own()) return {};
    return only_rows(team, partial_, block_.spec().share.shared_tokens);
  }

  // Sets out to the sum over devices of the partial sums. With `add` it adds the sum to `out`.
  void reduce(Group& group, bool add, const MatView& out) {
    const MatView& partial = partial_;
    const MatView& sum = add ? partial : out;
    group.all_reduce(partial.data, DType::f32, sum.data, sum.dtype, partial.rows * partial.cols);
    if (add) add_rows(group.team(), partial, out);
  }

  bool sliced_;
  Matrix memory_{};                 // the memory of partial_, for the largest step
  MatView partial_{};               // [T, H] f32: this device's part of the sum over devices
  Matrix own_y_{}, own_dx_{};       // [T, H], on devices other than the first
  std::vector<float> dp_, own_dp_;  // [T k] this device's part, and the sum on devices other than the first
  float* dp_sum_ = nullptr;
  std::optional<SharedGradient> shared_gradient_;
};

}  // namespace

std::unique_ptr<ParallelPath> make_psum_path(const PathInputs& inputs) {
  return std::make_unique<PsumPath>(inputs);
}

}  // namespace moehill
