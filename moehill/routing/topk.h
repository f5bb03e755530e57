// Top-k of the router's logits and the gate values.
#pragma once

#include <vector>

#include "moehill/routing/plan.h"

namespace moehill {

// The topk largest logits of each row of [T, E], best first, ties to the lower expert id; gate values are the
// softmax over the chosen (f32). Throws InputError for a NaN (says token and expert) and for topk outside [1,
// E].
Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk);

// Gradient of the logits [T, E] from dp [T, k] (gradient of the gate values): softmax over the chosen, zero
// elsewhere. dlogit_j = p_j (dp_j - sum_i p_i dp_i). Writes every element of `dlogits`.
void route_topk_backward(const Routing& routing, const float* dp, float* dlogits, ThreadTeam& team);

}  // namespace moehill
