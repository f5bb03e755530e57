// BlockObject: a block of the interface. It owns the weights of this process and a path a device, and turns a
// call with the caller's memory into a step of the paths.
#pragma once

#include <initializer_list>
#include <optional>
#include <vector>

#include "moehill/api/description.h"
#include "moehill/api/step_tokens.h"
#include "moehill/parallel/latent_path.h"
#include "moehill/parallel/path.h"

namespace moehill {

// The memory of a pass: rows of this process's tokens.
struct PassMemory {
  const void* x = nullptr;
  void* y = nullptr;
  const void* dy = nullptr;  // null: y, over dy_scale
  void* dx = nullptr;
  float* d_gates = nullptr;  // null: not wanted
};

// For measuring (moehill/api/measuring.h): what a point lends to its block, in place of what a description
// says and the block would have of its own. It outlives the block.
struct LentParts {
  RunConfig config;  // any of the house, not only those that a description can say
  std::shared_ptr<WeightOperands> weights;
  const Routing* routing = nullptr;  // of all tokens
  PassMemory memory;                 // of all tokens
  LatentRows latent{};               // likewise
};

class BlockObject {
 public:
  // Collective.
  BlockObject(std::shared_ptr<Context> context, const moehill_block_desc* given);
  BlockObject(std::shared_ptr<Context> context, const LentParts& lent);
  BlockObject(const BlockObject&) = delete;

  moehill_block_info info() const;
  void load_experts(int first, int count, const moehill_weights* weights);
  void load_shared(const moehill_weights* weights);
  void store_experts(int first, int count, const moehill_gradients* weights);
  void store_expert_gradients(int first, int count, const moehill_gradients* gradients);
  void store_shared_gradients(const moehill_gradients* gradients);

  void plan(const OwnRouting& own);
  void forward(const void* x, void* y);
  void backward(const void* x, const void* dy, void* dx, float* d_gates);

  // For measuring: `work` on all devices with the path that plan(), forward() and backward() take there.
  // Collective; the caller answers for arguments and order.
  void on_devices(FunctionRef<void(Group&, ParallelPath&)> work);
  const ParallelPath& path_of(int device) const;

 private:
  enum class State { unplanned, planned, forwarded };

  void allocate(const moehill_block_desc& desc);
  // With tokens cut evenly, in this memory until the next bind().
  void make_paths(const PassMemory& memory);
  bool trains() const { return config_.block.pass == Pass::forward_backward; }
  Range experts_of(int device) const;
  bool is_first_to_hold(int device) const;
  ParallelPath& path_of(const Group& group);
  // Makes the views that a device's path is given. They span the tokens of all processes; only the rows of
  // this process have memory behind them.
  PathInputs inputs(int device, const PassMemory& memory);

  void require_experts(int first, int count) const;
  void require_shared() const;
  void require_gradients() const;
  // Forgets what forward kept, since that was made with the weights of before. The caller holds the context's
  // turn.
  void forget_forward();
  NamedTensor rows(const char* name, const void* data) const;  // [own tokens, H]
  void store(const MlpWeights& from, int first, int count, const moehill_gradients* to);
  void gather_shared_gradients(Group& group);

  std::shared_ptr<Context> context_;
  int64_t number_ = 0;  // of the context's objects
  RunConfig config_;
  Range local_experts_;
  std::shared_ptr<WeightOperands> weights_;
  LatentMemory latent_memory_;        // of this process's tokens
  std::optional<LatentRows> latent_;  // lent: of all tokens
  std::vector<float> d_gates_;        // [max tokens, k] where the caller wants none
  StepTokens tokens_;
  Routing own_routing_;  // of all tokens; this process's are set
  const Routing* routing_ = &own_routing_;
  State state_ = State::unplanned;
  bool has_gradients_ = false;
  std::vector<std::unique_ptr<ParallelPath>> paths_;  // of the local devices
};

}  // namespace moehill
