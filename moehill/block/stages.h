// This header has the stages, the parts of a step, and the interface by which code with a clock learns of
// them. It has no clock itself.
//
//   listener->enter(Stage::plan);   // ends the last stage and begins this one
//   listener->finish();             // ends the last stage
#pragma once

#include <array>
#include <cstdint>
#include <initializer_list>
#include <string>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/machine/thread_team.h"
#include "moehill/machine/wait.h"

namespace moehill {

// Stage lists the stages in the order of a step. A step of one configuration has only some of them
// (stages_of_step()).
enum class Stage {
  router,         // softmax and top-k of the logits, if the router runs in the step
  plan,           // making the routing plan
  dispatch,       // rows of x travel to the devices of their experts
  pack,           // rows are gathered, if the backend cannot gather while it packs (ragged_dot, prequeue)
  up,             // x W1 and x W3, with the activation if it is fused
  act,            // the activation as a stage of its own
  down,           // h W2
  combine,        // gate values, and the sum over a token's rows
  shared,         // shared expert
  latent,         // products around experts whose width is not the model's, and their norm
  reduce,         // the collective of the forward pass
  dispatch_grad,  // rows of dy travel to the devices of their experts
  recompute,      // remat: products of the forward pass are computed again
  pack_grad,      // rows of dy are gathered, if the backend cannot gather while it packs (ragged_dot)
  down_grad,      // dh = dy W2^T
  act_grad,       // gradients of gate values, gates and ups
  w2_grad,        // dW2
  up_grad,        // rows of dx
  w13_grad,       // dW1, dW3
  combine_grad,   // dx from its rows
  shared_grad,    // backward of the shared expert
  latent_grad,    // backward of the products around the experts
  router_grad,    // dlogits
  reduce_grad,    // collectives of the backward pass
};
constexpr auto words(Stage) {
  return std::array{"router",    "plan",         "dispatch",    "pack",        "up",          "act",
                    "down",      "combine",      "shared",      "latent",      "reduce",      "dispatch_grad",
                    "recompute", "pack_grad",    "down_grad",   "act_grad",    "w2_grad",     "up_grad",
                    "w13_grad",  "combine_grad", "shared_grad", "latent_grad", "router_grad", "reduce_grad"};
}
static_assert(words(Stage::router).size() == static_cast<size_t>(Stage::reduce_grad) + 1);

inline constexpr int kNumStages = static_cast<int>(kNumWords<Stage>);
inline constexpr int kFirstBackwardStage = static_cast<int>(Stage::dispatch_grad);
inline bool is_backward(Stage stage) { return stage >= Stage::dispatch_grad; }

// StageSet is a set of stages.
class StageSet {
 public:
  StageSet() = default;
  StageSet(std::initializer_list<Stage> stages) {
    for (const Stage stage : stages) add(stage);
  }
  void add(Stage stage) { bits_ |= bit(stage); }
  bool has(Stage stage) const { return (bits_ & bit(stage)) != 0; }
  bool empty() const { return bits_ == 0; }
  StageSet in_common_with(StageSet other) const {
    other.bits_ &= bits_;
    return other;
  }
  std::vector<std::string> names() const {
    std::vector<std::string> all;
    for (const Stage stage : all_values<Stage>())
      if (has(stage)) all.push_back(name_of(stage));
    return all;
  }
  bool operator==(const StageSet&) const = default;

 private:
  static_assert(kNumStages <= 32);
  static uint32_t bit(Stage stage) { return uint32_t{1} << static_cast<int>(stage); }
  uint32_t bits_ = 0;
};

// A StageListener learns of the stages of one device. The thread that leads the device's team calls it when a
// stage begins. A stage ends when the next one begins; finish() ends the last one. A step may enter a stage
// several times; its times add up.
class StageListener {
 public:
  virtual ~StageListener() = default;
  // A step begins on this team. The listener can count the team's hand-overs in each stage.
  virtual void begin(const ThreadTeam&) {}
  virtual void enter(Stage) = 0;
  virtual void finish() = 0;
  // A wait for other devices is over.
  virtual void waited(const Wait&) {}
};

}  // namespace moehill
