// ParallelPath: one device's part of a way to spread the block over devices. A path is a class and one line
// of make_path(). `none` is in path.cc, the others have a file each.
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

// The run lends this to a device's path. It is resident before the clock starts, and the same memory for all
// devices unless `own_results` is set.
struct PathInputs {
  RunConfig config{};  // shape.tokens: the most that a step has, cut evenly
  int rank = 0;
  bool own_results = false;  // y, dx, dp and the gradients are this device's alone
  // [P + 1] where each device's tokens begin in a step; empty: cut evenly.
  std::span<const int64_t> token_offsets{};
  // These are of all tokens. A path that shards the tokens reads those of its own alone and is told of the
  // others.
  const Routing* routing = nullptr;
  MatView x, y, dx;       // [T, H]; y and dx are the results
  MatView dy{};           // [T, H] the gradient of y, over dy_scale; without data it is y
  LatentRows latent{};    // [T, H'] where experts are of another width: work space
  ExpertWeights weights;  // of all experts; the gradients are results
  float* dp = nullptr;    // [T k], a result
};

// [T, H] what backward reads.
inline const MatView& read_dy(const PathInputs& inputs) {
  return inputs.dy.data == nullptr ? inputs.y : inputs.dy;
}

// Zeros in all of its parts.
void clear(const MlpWeights& gradient);

// Which tokens' results a device has when a step of the most tokens is over.
Range result_tokens(const RunConfig& config, int rank);

class ParallelPath {
 public:
  explicit ParallelPath(const PathInputs& inputs);
  virtual ~ParallelPath() = default;
  // Binds the path, from the next plan on, to other tokens, of which there may be fewer, and other memory for
  // them and their results. Weights stay what they were. Allocates nothing.
  void bind(const PathInputs& inputs);

  // SPMD: every device calls these on its own object with its own group. dy_scale = 2 / (T H).
  // Once, before the first step: memory that is shared with the peers.
  virtual void prepare(Group&) {}
  void begin_step(Group& group);
  // Steps leave these stages out from now on, of those that the path has.
  virtual void leave_out(StageSet stages) { block_.leave_out(stages); }
  virtual void make_plan(Group& group, StageListener* listener);
  virtual void forward(Group& group, StageListener* listener) = 0;
  virtual void backward(Group& group, float dy_scale, StageListener* listener) = 0;

  // Spoils what a step leaves in its work space and the next one must make anew, as
  // Block::spoil_work_space().
  virtual void spoil_work_space(const MemoryVisitor& spoil);
  // Results that every device ends with: this device's copy, tensor by tensor in the same order on all
  // devices. The first device's are the run's own. Nothing where each device has its own part.
  virtual void visit_replicas(const MemoryVisitor&) {}

  // Names what was sent since the last call, or since the step began.
  void count_sent(Group& group, Move move);
  virtual const Block& routed_block() const { return block_; }
  virtual double executed_flops() const { return block_.executed_flops(); }
  const std::array<uint64_t, kNumMoves>& sent_bytes() const { return sent_bytes_; }  // of the last step
  // This device's results: [T, H], or the rows of its own tokens.
  const MatView& y() const { return y_; }
  const MatView& dx() const { return dx_; }

 protected:
  // The bytes that `part` has counted in the step so far are this path's, which counts what follows.
  void take_counts(Group& group, const ParallelPath& part) {
    sent_bytes_ = part.sent_bytes_;
    counted_bytes_ = group.traffic().sent_bytes;
  }
  // For a path that has another one.
  virtual void begin_step_of_part(Group&) {}
  // Derives from the inputs what a step needs; called after construction and in bind().
  virtual void take_tokens() = 0;
  Range own_tokens() const {
    return {token_offsets_[idx(inputs_.rank)], token_offsets_[idx(inputs_.rank) + 1]};
  }
  int64_t num_tokens() const { return token_offsets_.back(); }
  int64_t num_assignments() const { return num_tokens() * inputs_.config.shape.topk; }
  // The whole block for the tokens of x_, nothing exchanged; dp has one element for each of their
  // assignments.
  void forward_alone(ThreadTeam& team, StageListener* listener);
  void backward_alone(ThreadTeam& team, float dy_scale, float* dp, StageListener* listener);
  // At the end of backward: gradients of experts that other devices have copies of.
  void sum_copies(Group& group);
  // Computes the part that a token's own device adds to its rows, over the tokens of the shared expert: the
  // shared expert's rows and the zero experts'. Writes to pass.out [shared tokens, H].
  void forward_own(const BlockPass& pass);
  void backward_own(const BlockPass& pass);
  bool adds_own() const { return inputs_.config.shape.shared_dim > 0 || zero_.has_value(); }
  bool has_own() const { return adds_own() && block_.spec().share.shared_tokens.size() > 0; }
  // dp, [k] a row of x_, of the choices of zero experts among the tokens of the shared expert. Call it after
  // all others of a step are made.
  void make_zero_dp(ThreadTeam& team, float dy_scale, float* dp);
  // At the planning of a step.
  void take_zero_experts(ThreadTeam& team);
  // The routing of all tokens under the capacity, where the block's plan does not see to that by itself.
  const Routing& limited(const Routing& routing);
  // `sums` with the rows outside `kept` set to zero.
  static MatView only_rows(ThreadTeam& team, const MatView& sums, Range kept);
  // Passes over x_, to y_ and to dx_.
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
  MatView dy_{};              // the rows of y_, as backward reads them

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

// The shared expert's weight gradients where every device has a part of them: its own tokens'. The sum over
// devices is left sharded: each device ends with the range of elements that it would update, in the run's own
// gradients. Where these are the device's alone, its part lies there too, and the sum replaces a range of it.
class SharedGradient {
 public:
  explicit SharedGradient(const PathInputs& inputs);
  const MlpWeights& part() const { return part_; }
  // is_written: this step wrote the part; without tokens of its own a device has none.
  void reduce(Group& group, bool is_written);
  void spoil_work_space(const MemoryVisitor& spoil) const { part_.visit(spoil); }

 private:
  OwnedMlp memory_;
  MlpWeights part_, sum_;
  std::vector<int64_t> offsets_;  // [P + 1]
};

// This spoils a device's copy of the others' routing: gate values become NaN, expert ids those of another,
// valid routing.
inline void spoil_routing(Routing& routing, const MemoryVisitor& spoil) {
  for (size_t i = 0; i < routing.expert.size(); ++i)
    routing.expert[i] = static_cast<int32_t>(i % static_cast<size_t>(routing.topk));
  visit_vector(routing.weight, spoil);
}

// The block of device `rank`: what it does of the whole one.
BlockShare block_share(const RunConfig& config, int rank);
BlockSpec block_spec(const RunConfig& config, int rank);

std::unique_ptr<ParallelPath> make_path(const PathInputs& inputs);

std::unique_ptr<ParallelPath> make_latent_path(const PathInputs& inputs);
std::unique_ptr<ParallelPath> make_psum_path(const PathInputs& inputs);
std::unique_ptr<ParallelPath> make_sharded_path(const PathInputs& inputs);
std::unique_ptr<ParallelPath> make_data_parallel_path(const PathInputs& inputs);

}  // namespace moehill
