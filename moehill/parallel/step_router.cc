#include "moehill/parallel/step_router.h"

#include <algorithm>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/routing/topk.h"

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
  if (block.router_grad) {
    throw input_error(what, "it with --router-grad", "no gradient of the logits", "choose one of the two");
  }
}

StepRouter::StepRouter(std::vector<float> logits, const Routing& expected, bool renormalize)
    : logits_(std::move(logits)), renormalize_(renormalize), routing_(expected) {
  std::fill(routing_.expert.begin(), routing_.expert.end(), kNoExpert - 1);  // the plan builder refuses it
  std::fill(routing_.weight.begin(), routing_.weight.end(), 0.0f);
}

void StepRouter::poison(Range tokens) {
  const auto begin = routing_.weight.begin();
  std::fill(begin + tokens.begin * routing_.topk, begin + tokens.end * routing_.topk,
            std::numeric_limits<float>::quiet_NaN());
}

void StepRouter::route(Range tokens, ThreadTeam& team) {
  route_softmax_topk(logits_.data(), tokens, renormalize_, team, routing_);
}

}  // namespace moehill
