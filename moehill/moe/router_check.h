// The check of a router that is a part of the step: its choices and gate values against the logits.
//
// It shares no code with the router, which keeps a sorted list of the best in f32. Here nothing is chosen:
// each choice has to come before the next and before every expert left out, by its logit and, among equal
// logits, by its lower number. Gate values are compared with the softmax in double, within the rounding
// errors of f32.
#pragma once

#include <string>

#include "moehill/machine/thread_team.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Says what is wrong with the first wrong token; empty: nothing. logits [T, E]. renormalized: the softmax is
// over the chosen experts, else over all.
std::string router_fault(const float* logits, bool renormalized, const Routing& routing, ThreadTeam& team);

}  // namespace moehill
