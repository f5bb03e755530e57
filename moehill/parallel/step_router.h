// StepRouter makes the router a part of the step: each device routes its own tokens while the clock runs.
// Without a StepRouter the routing is made before the clock starts (routing/route_tokens.h).
//
//     refuse_route_in_step(config);                                // InputError if the path cannot
//     StepRouter step_router(router, logits, expected, false);
//     step_router.route(own_tokens, team);                         // in each step, on each device
//     step_router.routing();                                       // the routing that the paths read
#pragma once

#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/routing/router.h"
#include "moehill/tensor/memory_visitor.h"

namespace moehill {

// Throws InputError if the config asks for a router in the step and cannot have it: on a path whose devices
// all need the routing of every token, or with a plan that is made before the clock starts.
void refuse_route_in_step(const RunConfig& config);

// StepRouter holds the routing that the devices' paths read. Before a device's first step none of its tokens
// is routed.
class StepRouter {
 public:
  // `logits` are [T, L]; a device reads the rows of its own tokens. They and the router have to live as long
  // as this object. `expected` is the routing that they give, which was made before the clock started; only
  // its sizes are used. If `makes_logits` is set, each step makes the logits, in own_logits().
  StepRouter(const Router& router, const float* logits, const Routing& expected, bool makes_logits);

  // Routes these tokens on the device that calls; others may route theirs at the same time. It allocates
  // nothing.
  void route(Range tokens, ThreadTeam& team);
  const float* logits() const { return made_.empty() ? logits_ : made_.data(); }
  // A device writes the logits of its tokens here; `token` is the first of them.
  float* own_logits(int64_t token) { return made_.data() + token * routing_.num_logits(); }
  // From the next step on, reads other logits [T, L] of the same tokens.
  void read(const float* logits) { logits_ = logits; }
  // Removes the choices of these tokens and sets their gate values to NaN, and also their logits if a step
  // makes them. So a step that does not route them is found: the plan refuses the choices, or the check sees
  // the values.
  void poison(Range tokens);
  // Visits what a step has made for these tokens: choices, gate values, and the logits if a step makes them.
  void visit_made(Range tokens, const MemoryVisitor& visit);
  const Routing& routing() const { return routing_; }

 private:
  const Router& router_;
  const float* logits_;
  std::vector<float> made_;  // [T, L]; empty if the logits are made before the step
  Routing routing_;
};

}  // namespace moehill
