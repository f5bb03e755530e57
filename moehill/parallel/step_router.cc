#include "moehill/parallel/step_router.h"

#include <algorithm>
#include <limits>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// The plan builder refuses this expert id, so a token that no step has routed is an error and no silent zero.
constexpr int32_t kUnrouted = kNoExpert - 1;

}  // namespace

// Each refusal says what cannot be combined, since the options are fine one by one.
void refuse_route_in_step(const RunConfig& config) {
  const BlockOptions& block = config.block;
  if (block.router_product && !block.route_in_step)
    throw usage_error("--router product needs in-step", "add in-step");
  if (!block.route_in_step) return;
  if (block.router_product && config.shape.router.expert_scale) {
    throw usage_error(
        "--router product cannot be used with expert-scale, whose router has a norm before its product",
        "leave one of the two out");
  }
  if (block.router_product && block.capacity.spares > 0) {
    throw usage_error("--capacity-spares cannot be used with --router product, which has no next choices",
                      "leave one of the two out");
  }
  const std::string what = "the router in the step";
  if (config.num_devices > 1 && !shards_tokens(config)) {
    throw input_error(what, name_of(config.spread), "a path that shards the tokens",
                      "choose another --ep-path");
  }
  if (block.prequeue) {
    throw usage_error("the router in the step cannot be used with a prequeued plan", "use --queue-mode full");
  }
}

StepRouter::StepRouter(const Router& router, const float* logits, const Routing& expected, bool makes_logits)
    : router_(router),
      logits_(logits),
      made_(makes_logits ? static_cast<size_t>(expected.num_tokens * expected.num_logits()) : 0),
      routing_(expected) {
  std::fill(routing_.expert.begin(), routing_.expert.end(), kUnrouted);
  std::fill(routing_.weight.begin(), routing_.weight.end(), 0.0f);
}

void StepRouter::poison(Range tokens) {
  const auto fill = [&](auto& values, int64_t of_token, auto value) {
    if (values.empty()) return;
    std::fill(values.begin() + tokens.begin * of_token, values.begin() + tokens.end * of_token, value);
  };
  constexpr float kNoNumber = std::numeric_limits<float>::quiet_NaN();
  fill(routing_.expert, routing_.topk, kUnrouted);
  fill(routing_.zero, routing_.topk, kNoExpert);
  fill(routing_.weight, routing_.topk, kNoNumber);
  fill(made_, routing_.num_logits(), kNoNumber);
}

void StepRouter::visit_made(Range tokens, const MemoryVisitor& visit) {
  const auto rows = [&](auto& values, int64_t of_token) {
    if (values.empty() || tokens.size() == 0) return;
    visit(values.data() + tokens.begin * of_token,
          static_cast<size_t>(tokens.size() * of_token) * sizeof(values[0]));
  };
  rows(routing_.expert, routing_.topk);
  rows(routing_.zero, routing_.topk);
  rows(routing_.weight, routing_.topk);
  rows(made_, routing_.num_logits());
}

void StepRouter::route(Range tokens, ThreadTeam& team) {
  moehill::route(router_, logits(), tokens, team, routing_);
}

}  // namespace moehill
