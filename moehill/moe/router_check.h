// This header checks a router. router_fault compares its choices and gate values with its logits;
// logits_fault checks the logits, if a step makes them.
//
// router_fault shares no code with the router, and it chooses no experts itself. Each choice must rank before
// the next choice, and before every expert that was left out. Experts rank by their keys in double, or by
// their numbers if logits and biases are equal. Keys that differ by less than the rounding errors of f32 may
// come in either order. Gate values may differ from the ones in double by these errors.
//
//   const std::string fault = router_fault(router, logits, routing, {0, shape.tokens}, team);
//   if (!fault.empty()) verdict.fail(fault);
#pragma once

#include <string>

#include "moehill/base/partition.h"
#include "moehill/machine/thread_team.h"
#include "moehill/moe/tensors.h"
#include "moehill/routing/router.h"

namespace moehill {

// Returns what is wrong with the first of these tokens that is wrong, or "". logits [T, L].
std::string router_fault(const Router& router, const float* logits, const Routing& routing, Range tokens,
                         ThreadTeam& team);

// Checks that the logits a step has made are x W_g, within the rounding errors of sums in f32. It compares
// one number for each token: the sum of its logits times random weights, which the seed decides.
std::string logits_fault(const BlockTensors& tensors, Range tokens, uint32_t seed);

}  // namespace moehill
