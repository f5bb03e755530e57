// This header routes logits by the default rule, for tests that need some routing.
//
//   const Routing routing = route_topk(logits, num_tokens, num_experts, topk);   // logits [T, E]
#pragma once

#include <vector>

#include "moehill/routing/router.h"

namespace moehill {

// Returns the topk largest logits of each row of [T, E], the best first; of equal logits the lower expert id
// wins. Gate values are the softmax over the chosen logits, in f32. Throws InputError for a NaN (it names
// token and expert) and for a topk outside [1, E].
inline Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk) {
  const Router router;
  refuse_impossible(router.rule, num_experts, topk);
  return route_all(router, logits, num_tokens, num_experts, topk);
}

}  // namespace moehill
