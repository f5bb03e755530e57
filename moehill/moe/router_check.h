// The check of a router: its choices and gate values against the logits.
//
// It shares no code with the router, which keeps a sorted list of the best in f32. Here nothing is chosen:
// each choice has to come before the next and before every expert left out, by its key in double and, where
// logits and biases are equal, by its lower number. What lies within the rounding errors of f32 may come
// either way. Gate values are compared with those in double, within these errors.
#pragma once

#include <string>

#include "moehill/base/partition.h"
#include "moehill/machine/thread_team.h"
#include "moehill/moe/tensors.h"
#include "moehill/routing/router.h"

namespace moehill {

// Says what is wrong with the first wrong one of these tokens; empty: nothing. logits [T, L].
std::string router_fault(const Router& router, const float* logits, const Routing& routing, Range tokens,
                         ThreadTeam& team);

// Checks logits that a step makes itself: that they are x W_g, within the rounding errors of sums in f32.
// Each token's logits are compared in one number, their sum with weights that are random by the seed.
std::string logits_fault(const BlockTensors& tensors, Range tokens, uint32_t seed);

}  // namespace moehill
