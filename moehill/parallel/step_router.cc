#include "moehill/parallel/step_router.h"

#include <algorithm>
#include <limits>

#include "moehill/base/error.h"

namespace moehill {

void refuse_route_in_step(const RunConfig& config) {
  const BlockOptions& block = config.block;
  if (!block.route_in_step) return;
  const std::string what = "the router in the step";
  if (config.num_devices > 1 && !shards_tokens(config)) {
    throw input_error(what, name_of(config.spread), "a path that shards the tokens",
                      "choose another --ep-path");
  }
  if (block.prequeue) {
    throw input_error(what, "it with a prequeued plan", "--queue-mode full", "choose one of the two");
  }
}

StepRouter::StepRouter(const Router& router, const std::vector<float>& logits, const Routing& expected)
    : router_(router), logits_(logits), routing_(expected) {
  std::fill(routing_.expert.begin(), routing_.expert.end(), kNoExpert - 1);  // the plan builder refuses it
  std::fill(routing_.weight.begin(), routing_.weight.end(), 0.0f);
}

void StepRouter::poison(Range tokens) {
  const auto begin = routing_.weight.begin();
  std::fill(begin + tokens.begin * routing_.topk, begin + tokens.end * routing_.topk,
            std::numeric_limits<float>::quiet_NaN());
}

void StepRouter::route(Range tokens, ThreadTeam& team) {
  moehill::route(router_, logits_.data(), tokens, team, routing_);
}

}  // namespace moehill
