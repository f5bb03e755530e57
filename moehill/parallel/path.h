// ParallelPath is one device's part of a path, a way to spread the block over devices. A new path is a class
// and one line of make_path(). `none` is in path.cc; each other path has a file. A path has no clock and
// reads no files. A caller that measures times passes a StageListener. A path takes memory only when it is
// made.
//
//     std::unique_ptr<ParallelPath> path = make_path(inputs);   // one for each device
//     path->prepare(group);                                     // all devices, once
//     path->begin_step(group);                                  // then in each step:
//     path->make_plan(group, listener);
//     path->forward(group, listener);
//     path->backward(group, 2.0f / (tokens * hidden), listener);
#pragma once

#include <array>
#include <memory>
#include <optional>
#include <span>
#include <vector>

#include "moehill/mesh/group.h"
#include "moehill/moe/block.h"
#include "moehill/moe/tensors.h"
#include "moehill/moe/zero_experts.h"
#include "moehill/parallel/copy_gradients.h"
#include "moehill/parallel/moves.h"
#include "moehill/parallel/operands.h"
#include "moehill/routing/capacity_limiter.h"

namespace moehill {

// PathInputs has the memory that the caller lends to a device's path, and the config. The memory exists
// before the clock starts. It is the same for all devices of a process, unless `own_results` is set.
struct PathInputs {
  RunConfig config{};  // shape.tokens is the most tokens of a step
  int rank = 0;
  bool own_results = false;  // y, dx, dp and the gradients belong to this device only
  // [P + 1] Where each device's tokens begin in this step; empty: the tokens are cut evenly.
  std::span<const int64_t> token_offsets{};
  // The members below cover all tokens. A path that shards tokens reads only the rows of its own tokens; the
  // other devices send the rows of theirs that it needs.
  const Routing* routing = nullptr;
  MatView x, y, dx;       // [T, H]; y and dx are the results
  MatView dy{};           // [T, H] the gradient of y is dy_scale times this; without data, dy_scale times y
  LatentRows latent{};    // [T, H'] work space, if experts have another width
  ExpertWeights weights;  // of all experts; the gradients are results
  float* dp = nullptr;    // [T k], a result
};

// Returns [T, H], the rows that backward reads as the gradient of y.
inline const MatView& read_dy(const PathInputs& inputs) {
  return inputs.dy.data == nullptr ? inputs.y : inputs.dy;
}

// Sets all parts of a gradient to zero.
void clear(const MlpWeights& gradient);

// Returns the tokens whose results a device has after a step of config.shape.tokens tokens.
Range result_tokens(const RunConfig& config, int rank);

// The top of this header has the order of the calls.
class ParallelPath {
 public:
  explicit ParallelPath(const PathInputs& inputs);
  virtual ~ParallelPath() = default;
  // Binds the path to other tokens, and to other memory for them and their results. There may be at most as
  // many tokens as the config has. The weights stay the same. It allocates nothing.
  void bind(const PathInputs& inputs);

  // SPMD: every device calls these on its own object with its own group. dy_scale is 2 / (T H), since the
  // gradient of the mean of y^2 is 2 y / (T H).
  // prepare() is called once before the first step; it makes memory that devices share.
  virtual void prepare(Group&) {}
  void begin_step(Group& group);
  // Leaves these stages out of all steps from now on, as far as the path has them (--ablate).
  virtual void leave_out(StageSet stages) { block_.leave_out(stages); }
  virtual void make_plan(Group& group, StageListener* listener);
  virtual void forward(Group& group, StageListener* listener) = 0;
  virtual void backward(Group& group, float dy_scale, StageListener* listener) = 0;

  // Overwrites the values in the work space that every step has to make again, so that a step that reads old
  // values shows. See Block::spoil_work_space().
  virtual void spoil_work_space(const MemoryVisitor& spoil);
  // Visits this device's copy of the results that every device ends with, tensor by tensor and in the same
  // order on all devices. The copy of the first device is the run's own. It visits nothing if each device has
  // a part of the results.
  virtual void visit_replicas(const MemoryVisitor&) {}

  // Counts the bytes that this device has sent since the last call, or since the step began, as this kind of
  // move.
  void count_sent(Group& group, Move move);
  virtual const Block& routed_block() const { return block_; }
  virtual double executed_flops() const { return block_.executed_flops(); }
  const std::array<uint64_t, kNumMoves>& sent_bytes() const { return sent_bytes_; }  // of the last step
  // These two return this device's results: [T, H], or the rows of its own tokens.
  const MatView& y() const { return y_; }
  const MatView& dx() const { return dx_; }

 protected:
  // Takes over the counts that an inner path has made in this step so far. From now on this path counts.
  void take_counts(Group& group, const ParallelPath& part) {
    sent_bytes_ = part.sent_bytes_;
    counted_bytes_ = group.traffic().sent_bytes;
  }
  // A path that has an inner path overrides this.
  virtual void begin_step_of_part(Group&) {}
  // Derives the state of a step from the inputs. It is called after construction and in bind().
  virtual void take_tokens() = 0;
  Range own_tokens() const {
    return {token_offsets_[idx(inputs_.rank)], token_offsets_[idx(inputs_.rank) + 1]};
  }
  int64_t num_tokens() const { return token_offsets_.back(); }
  int64_t num_assignments() const { return num_tokens() * inputs_.config.shape.topk; }
  // These two compute the whole block for the tokens of x_, without any exchange. dp has one element for each
  // of their assignments.
  void forward_alone(ThreadTeam& team, StageListener* listener);
  void backward_alone(ThreadTeam& team, float dy_scale, float* dp, StageListener* listener);
  // Clears the shared expert's gradient if no token of this step writes it. Only backward may do that,
  // because the gradients of the last backward stay until then.
  void clear_unwritten();
  // Sums the gradients of experts of which other devices have copies. Call it at the end of backward.
  void sum_copies(Group& group);
  // These two compute the rows that a token's own device adds to its result: the rows of the shared expert
  // and of zero experts. They write to pass.out [shared tokens, H].
  void forward_own(const BlockPass& pass);
  void backward_own(const BlockPass& pass);
  bool adds_own() const { return inputs_.config.shape.shared_dim > 0 || zero_.has_value(); }
  bool has_own() const { return adds_own() && block_.spec().share.shared_tokens.size() > 0; }
  // Makes dp for choices of zero experts, [k] for each row of x_ among the tokens of the shared expert. Call
  // it after all other dp of the step are made.
  void make_zero_dp(ThreadTeam& team, float dy_scale, float* dp);
  // Lets zero experts see the routing; called when a step is planned.
  void take_zero_experts(ThreadTeam& team);
  // Returns the routing of all tokens. It applies the capacity, unless the block's plan does that by itself.
  const Routing& limited(const Routing& routing);
  // Sets the rows of `sums` outside of `kept` to zero and returns `sums`.
  static MatView only_rows(ThreadTeam& team, const MatView& sums, Range kept);
  // These two return passes from x_ to y_, and from dy_ to dx_.
  BlockPass forward_pass(ThreadTeam& team, StageListener* listener) const {
    return {.team = team, .weights = weights_, .listener = listener, .x = x_, .out = y_};
  }
  BlockPass backward_pass(ThreadTeam& team, float dy_scale, StageListener* listener) const {
    BlockPass pass = forward_pass(team, listener);
    pass.out = dx_;
    pass.y = dy_;
    pass.dy_scale = dy_scale;
    return pass;
  }
  bool has_shared() const { return block_.spec().has_shared(); }
  bool backward_too() const { return block_.spec().has_backward(); }

  PathInputs inputs_;
  Block block_;
  ExpertWeights weights_;     // this device's
  MatView x_{}, y_{}, dx_{};  // [T, H], or the rows of the device's own tokens
  MatView dy_{};              // the gradient that backward reads, for the rows of y_

 private:
  static size_t idx(int rank) { return static_cast<size_t>(rank); }
  std::optional<CapacityLimiter> limiter_;
  std::optional<CopyGradients> copies_;
  std::optional<ZeroExperts> zero_;
  void take_inputs();
  std::vector<int64_t> token_offsets_;  // [P + 1]
  std::array<uint64_t, kNumMoves> sent_bytes_{};
  uint64_t counted_bytes_ = 0;
};

// SharedGradient sums the shared expert's weight gradients if every device makes a part of them, from its own
// tokens. The sum stays sharded: each device ends with one range of its elements, in the gradients of the
// run. If these gradients belong to the device alone (own_results), its part lies there too, and the sum
// replaces a range of the part.
class SharedGradient {
 public:
  explicit SharedGradient(const PathInputs& inputs);
  const MlpWeights& part() const { return part_; }
  // `is_written`: this step wrote the part. A device without tokens did not write it, and its part is
  // cleared.
  void reduce(Group& group, bool is_written);
  void spoil_work_space(const MemoryVisitor& spoil) const { part_.visit(spoil); }

 private:
  OwnedMlp memory_;
  MlpWeights part_, sum_;
  std::vector<int64_t> offsets_;  // [P + 1]
};

// Overwrites a device's copy of the others' routing: gate values become NaN, and expert ids become other
// valid ids.
inline void spoil_routing(Routing& routing, const MemoryVisitor& spoil) {
  for (size_t i = 0; i < routing.expert.size(); ++i)
    routing.expert[i] = static_cast<int32_t>(i % static_cast<size_t>(routing.topk));
  visit_vector(routing.weight, spoil);
}

// Returns the part of the block that device `rank` does.
BlockShare block_share(const RunConfig& config, int rank);
BlockSpec block_spec(const RunConfig& config, int rank);

std::unique_ptr<ParallelPath> make_path(const PathInputs& inputs);

std::unique_ptr<ParallelPath> make_latent_path(const PathInputs& inputs);
std::unique_ptr<ParallelPath> make_psum_path(const PathInputs& inputs);
std::unique_ptr<ParallelPath> make_sharded_path(const PathInputs& inputs);
std::unique_ptr<ParallelPath> make_data_parallel_path(const PathInputs& inputs);

}  // namespace moehill
