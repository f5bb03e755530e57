// This header has the default router: the topk largest logits, and the softmax over the chosen ones. Rules of
// real models are in router_rule.h.
//
//   const Routing routing = route_topk(logits, num_tokens, num_experts, topk);   // logits [T, E]
#pragma once

#include <vector>

#include "moehill/routing/plan.h"
#include "moehill/routing/router.h"

namespace moehill {

// Returns the topk largest logits of each row of [T, E], the best first; of equal logits the lower expert id
// wins. Gate values are the softmax over the chosen logits, in f32. Throws InputError for a NaN (it names
// token and expert) and for a topk outside [1, E].
Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk);

// Returns a routing that has these sizes but no decisions yet, for route() to fill.
Routing unrouted(const Router& router, int64_t num_tokens, int num_logits, int topk);
// `ranked` has more choices for each token than `routing`, and the first ones are the same. The others become
// the spares of `routing`.
void take_spares(const Routing& ranked, Routing& routing);

}  // namespace moehill
