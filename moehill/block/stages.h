// The stages of a step, and the hook by which someone with a clock hears of them. This room has no clock.
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

enum class Stage {
  router,         // softmax and top-k of the logits, where a step begins with them
  plan,           // routing plan
  dispatch,       // rows of x to the devices of their experts
  pack,           // gathering of rows where a backend cannot gather while packing (ragged_dot, prequeue)
  up,             // x W1, x W3 (with SwiGLU in its epilogue where that is fused)
  act,            // SwiGLU as a stage of its own
  down,           // h W2
  combine,        // gate values and sum over a token's rows
  shared,         // shared expert
  latent,         // products around experts of another width than the model's, and a norm
  reduce,         // collective of the forward pass
  dispatch_grad,  // rows of dy to the devices of their experts
  recompute,      // remat: products of the forward pass made again
  pack_grad,      // gathering of rows of dy where the backend cannot gather while packing (ragged_dot)
  down_grad,      // dh = dy W2^T
  act_grad,       // dp, dgate, dup
  w2_grad,        // dW2
  up_grad,        // dx rows
  w13_grad,       // dW1, dW3
  combine_grad,   // dx from its rows
  shared_grad,    // shared expert's backward
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

// One per device; called by the device's leading thread when a stage begins. A stage ends where the next
// begins; `finish` ends the last. A stage may be entered several times in a step: its times add up.
class StageListener {
 public:
  virtual ~StageListener() = default;
  // A step begins on this team, whose hand-overs can be counted by stage.
  virtual void begin(const ThreadTeam&) {}
  virtual void enter(Stage) = 0;
  virtual void finish() = 0;
  // Tells of a wait for somebody else's work when it is over.
  virtual void waited(const Wait&) {}
};

}  // namespace moehill
