// BlockObject: a block of the interface. It owns the weights of this process and a path a device, and turns a
// call with the caller's memory into a step of the paths.
#pragma once

#include <initializer_list>
#include <vector>

#include "moehill/api/description.h"
#include "moehill/api/step_tokens.h"
#include "moehill/parallel/path.h"

namespace moehill {

class BlockObject {
 public:
  // Collective.
  BlockObject(std::shared_ptr<Context> context, const moehill_block_desc* given);

  moehill_block_info info() const;
  void load_experts(int first, int count, const moehill_weights& weights);
  void load_shared(const moehill_weights& weights);
  void store_experts(int first, int count, const moehill_gradients& weights);
  void store_expert_gradients(int first, int count, const moehill_gradients& gradients);
  void store_shared_gradients(const moehill_gradients& gradients);

  void plan(const OwnRouting& own);
  void forward(const void* x, void* y);
  void backward(const void* x, const void* dy, void* dx, float* d_gates);

 private:
  enum class State { unplanned, planned, forwarded };
  // The caller's memory of a pass, of this process's tokens.
  struct Tensors {
    const void* x = nullptr;
    void* y = nullptr;
    const void* dy = nullptr;
    void* dx = nullptr;
    float* d_gates = nullptr;
  };

  void allocate(const moehill_block_desc& desc);
  bool trains() const { return config_.block.pass == Pass::forward_backward; }
  Range experts_of(int device) const;
  bool is_first_to_hold(int device) const;
  ParallelPath& path_of(const Group& group);
  // Makes the views that a device's path is given. They span the tokens of all processes; only the rows of
  // this process have memory behind them.
  PathInputs inputs(int device, const Tensors& tensors);

  void require_experts(int first, int count) const;
  void require_shared() const;
  void require_gradients() const;
  NamedTensor tensor(const char* name, const void* data) const;  // [own tokens, H]
  void store(const OwnedMlp& from, int first, int count, const moehill_gradients& to);
  void gather_shared_gradients(Group& group);

  std::shared_ptr<Context> context_;
  RunConfig config_;
  Range local_experts_;
  OwnedMlp experts_, experts_grad_, shared_, shared_grad_;  // of local_experts_
  std::vector<float> d_gates_;                              // [max tokens, k] where the caller wants none
  StepTokens tokens_;
  Routing routing_;  // of all tokens; this process's are set
  State state_ = State::unplanned;
  bool has_gradients_ = false;
  std::vector<std::unique_ptr<ParallelPath>> paths_;  // of the local devices
};

}  // namespace moehill
