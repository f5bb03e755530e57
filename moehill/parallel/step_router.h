// StepRouter: the router as a part of the step, on each device for its own tokens.
#pragma once

#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/routing/router.h"

namespace moehill {

// Throws InputError for what routes in the step and cannot: a path whose devices all need every token's
// routing, and a plan made before the clock starts.
void refuse_route_in_step(const RunConfig& config);

// The routing that the devices' paths read. No token is routed before a device's first step.
class StepRouter {
 public:
  // logits [T, L], of which those of the own tokens are read; they live as long as this does, as does the
  // router. `expected`: what they give, made
  // before the clock starts, for the check; here for its sizes.
  // With `makes_logits` each step makes them, in own_logits().
  StepRouter(const Router& router, const float* logits, const Routing& expected, bool makes_logits);

  // Routes these tokens, on the device that calls; others may route theirs at the same time. Allocates
  // nothing.
  void route(Range tokens, ThreadTeam& team);
  const float* logits() const { return made_.empty() ? logits_ : made_.data(); }
  // Where a device makes the logits of its tokens, the first of which is this.
  float* own_logits(int64_t token) { return made_.data() + token * routing_.num_logits(); }
  // NaN in the gate values of these tokens and in logits that a step makes, so that a step without them
  // shows.
  void poison(Range tokens);
  const Routing& routing() const { return routing_; }

 private:
  const Router& router_;
  const float* logits_;
  std::vector<float> made_;  // [T, L]; empty where the logits are made before
  Routing routing_;
};

}  // namespace moehill
