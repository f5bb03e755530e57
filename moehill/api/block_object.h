// BlockObject is a block of the C interface. It owns the weights of this process and has a path for each of
// its devices, and it turns a call with the caller's memory into a step of these paths. It has the options of
// a description only. The harness needs all options, so it uses a Run (api/measuring.h), which holds a
// BlockObject.
//
//     BlockObject block(context, &desc);                    // collective over the context's processes
//     block.load_experts(first, count, &weights);
//     block.plan({tokens, expert_ids, gates});
//     block.forward(x, y);                                  // Failure(MOEHILL_WRONG_ORDER) without a plan
#pragma once

#include <initializer_list>
#include <optional>
#include <vector>

#include "moehill/api/description.h"
#include "moehill/api/step_tokens.h"
#include "moehill/parallel/latent_path.h"
#include "moehill/parallel/path.h"

namespace moehill {

// PassMemory is the memory of a pass: rows of this process's tokens.
struct PassMemory {
  const void* x = nullptr;
  void* y = nullptr;
  const void* dy = nullptr;  // null: the paths take y times their dy_scale
  void* dx = nullptr;
  float* d_gates = nullptr;  // null: not wanted
};

// LentParts are for measuring (moehill/api/measuring.h). The harness lends them to a block in place of a
// description and of the memory that the block would own. They have to outlive the block.
struct LentParts {
  RunConfig config;  // any config, also one that a description cannot express
  std::shared_ptr<WeightOperands> weights;
  const Routing* routing = nullptr;  // for all tokens
  PassMemory memory;                 // for all tokens
  LatentRows latent{};               // for all tokens
};

// BlockObject is made once and stepped many times. plan(), forward(), backward() and
// store_shared_gradients() are collective.
class BlockObject {
 public:
  // Both constructors are collective. The first one throws Failure for a wrong description.
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

  // For measuring: runs `work` on all devices with the path that plan(), forward() and backward() take there.
  // Collective. The caller is responsible for arguments and order.
  void on_devices(FunctionRef<void(Group&, ParallelPath&)> work);
  const ParallelPath& path_of(int device) const;

 private:
  enum class State { unplanned, planned, forwarded };

  void allocate(const moehill_block_desc& desc);
  // Makes the paths, with the tokens cut evenly among the devices. They read and write `memory` until the
  // next bind().
  void make_paths(const PassMemory& memory);
  bool trains() const { return config_.block.pass == Pass::forward_backward; }
  Range experts_of(int device) const;
  bool is_first_to_hold(int device) const;
  ParallelPath& path_of(const Group& group);
  // Makes the views that a device's path is given. They number the tokens of all processes; only the rows of
  // this process have memory behind them.
  PathInputs inputs(int device, const PassMemory& memory);

  void require_experts(int first, int count) const;
  void require_shared() const;
  void require_gradients() const;
  // Forgets what forward kept for backward, because forward used the old weights. The caller holds the
  // context's turn.
  void forget_forward();
  NamedTensor rows(const char* name, const void* data) const;  // [own tokens, H]
  void store(const MlpWeights& from, int first, int count, const moehill_gradients* to);
  void gather_shared_gradients(Group& group);

  std::shared_ptr<Context> context_;
  int64_t number_ = 0;  // its number among the objects of the context
  RunConfig config_;
  Range local_experts_;
  std::shared_ptr<WeightOperands> weights_;
  LatentMemory latent_memory_;        // for this process's tokens
  std::optional<LatentRows> latent_;  // lent by the harness, for all tokens
  std::vector<float> d_gates_;        // [max tokens, k], used if the caller wants none
  StepTokens tokens_;
  Routing own_routing_;  // has a place for all tokens; only the tokens of this process are set
  const Routing* routing_ = &own_routing_;
  State state_ = State::unplanned;
  bool has_gradients_ = false;
  std::vector<std::unique_ptr<ParallelPath>> paths_;  // of this process's devices
};

}  // namespace moehill
