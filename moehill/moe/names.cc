// The words for every choice and stage: those of the command line, the records and the traces.
#include "moehill/base/error.h"
#include "moehill/moe/options.h"
#include "moehill/moe/stages.h"

namespace moehill {
namespace {

// names[i] is the word for enumerator i.
template <size_t N, typename E>
const char* pick(const std::array<const char*, N>& names, E value) {
  const size_t i = static_cast<size_t>(value);
  MOEHILL_CHECK(i < N, "enumerator {} of {}", i, N);
  return names[i];
}

}  // namespace

const char* name_of(Backend backend) {
  constexpr std::array names = {"gmm", "ragged_dot"};
  return pick(names, backend);
}

const char* name_of(Impl impl) {
  constexpr std::array names = {"baseline", "fused_w13", "preweight", "fused_w13_preweight",
                                "scatter",  "fast"};
  return pick(names, impl);
}

const char* name_of(Remat remat) {
  constexpr std::array names = {"none", "expert_mlp", "combine"};
  return pick(names, remat);
}

const char* name_of(Pass pass) {
  constexpr std::array names = {"forward", "forward_backward"};
  return pick(names, pass);
}

const char* name_of(PackStrategy strategy) {
  constexpr std::array names = {"argsort", "tuple_sort", "expert_score_sort", "counting_sort"};
  return pick(names, strategy);
}

const char* name_of(CapacityPolicy policy) {
  constexpr std::array names = {"none", "drop", "pad"};
  return pick(names, policy);
}

const char* name_of(StepPart part) {
  constexpr std::array names = {"whole", "computation", "communication"};
  return names[static_cast<size_t>(part)];
}

const char* name_of(Stage stage) {
  constexpr std::array names = {"router",        "plan",       "dispatch",  "pack",         "up",
                                "act",           "down",       "combine",   "shared",       "reduce",
                                "dispatch_grad", "recompute",  "pack_grad", "down_grad",    "act_grad",
                                "w2_grad",       "up_grad",    "w13_grad",  "combine_grad", "shared_grad",
                                "router_grad",   "reduce_grad"};
  static_assert(names.size() == kNumStages);
  return pick(names, stage);
}

}  // namespace moehill
