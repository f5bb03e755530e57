// This header checks a router's choices and gate values against its logits. It does not check the logits,
// which logits_fault does if a step makes them. The check shares no code with the router, which keeps a
// sorted list of the best experts in f32. Here nothing is chosen: each choice must rank before the next one,
// and before every expert that was left out, by its key in double, or by its lower number if logits and
// biases are equal. Keys within the rounding errors of f32 may come in either order. Gate values are compared
// with those in double, within the same errors.
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

// Returns what is wrong with the first wrong one of these tokens, or "". logits [T, L].
std::string router_fault(const Router& router, const float* logits, const Routing& routing, Range tokens,
                         ThreadTeam& team);

// Checks that the logits a step has made are x W_g, within the rounding errors of sums in f32. One number is
// compared for each token: the sum of its logits times random weights by the seed.
std::string logits_fault(const BlockTensors& tensors, Range tokens, uint32_t seed);

}  // namespace moehill
