// The router of the benchmark contract: top-k of the logits, and the softmax over the chosen.
#pragma once

#include <vector>

#include "moehill/routing/plan.h"
#include "moehill/routing/router.h"

namespace moehill {

// The topk largest logits of each row of [T, E], best first, ties to the lower expert id; gate values are the
// softmax over the chosen (f32). Throws InputError for a NaN (says token and expert) and for topk outside [1,
// E].
Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk);

// A routing of these sizes whose tokens have not been routed.
Routing unrouted(const Router& router, int64_t num_tokens, int num_logits, int topk);
// `ranked` has more choices a token than `routing`, the first ones the same: the rest become its spares.
void take_spares(const Routing& ranked, Routing& routing);

}  // namespace moehill
