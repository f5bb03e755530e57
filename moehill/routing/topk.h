// Top-k of the router's logits and the gate values.
#pragma once

#include <vector>

#include "moehill/routing/plan.h"

namespace moehill {

// The topk largest logits of each row of [T, E], best first, ties to the lower expert id; gate values are the
// softmax over the chosen (f32). Throws InputError for a NaN (says token and expert) and for topk outside [1,
// E].
Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk);

// The router of `profile`: the same choice, with gate values of the softmax over all E experts; `renormalize`
// divides them by the sum of the chosen. (Chosen by logits, whose order is that of the softmax.) Fills the
// rows of `tokens` in `routing`, which has its sizes; allocates nothing. The logits are those that
// route_topk() has accepted.
void route_softmax_topk(const float* logits, Range tokens, bool renormalize, ThreadTeam& team,
                        Routing& routing);

// Gradient of the logits [T, E] from dp [T, k] (gradient of the gate values): softmax over the chosen, zero
// elsewhere. dlogit_j = p_j (dp_j - sum_i p_i dp_i). Writes every element of these tokens' rows.
void route_topk_backward(const Routing& routing, Range tokens, const float* dp, float* dlogits,
                         ThreadTeam& team);

}  // namespace moehill
