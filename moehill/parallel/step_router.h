// StepRouter: the router as a part of the step, on each device for its own tokens.
#pragma once

#include <vector>

#include "moehill/parallel/run.h"

namespace moehill {

// Throws InputError for what routes in the step and cannot: a path whose devices all need every token's
// routing, a plan made before the clock starts, and the gradient of the router.
void refuse_route_in_step(const RunConfig& config);

// The routing that the devices' paths read. No token is routed before a device's first step.
class StepRouter {
 public:
  // logits [T, E]; `expected`: what they give, made before the clock starts, for the check; here for its
  // sizes.
  StepRouter(std::vector<float> logits, const Routing& expected, bool renormalize);

  // Routes these tokens, on the device that calls; others may route theirs at the same time. Allocates
  // nothing.
  void route(Range tokens, ThreadTeam& team);
  // NaN in the gate values of these tokens, so that a step that does not route them shows.
  void poison(Range tokens);
  const Routing& routing() const { return routing_; }
  const std::vector<float>& logits() const { return logits_; }

 private:
  std::vector<float> logits_;
  bool renormalize_;
  Routing routing_;
};

}  // namespace moehill
