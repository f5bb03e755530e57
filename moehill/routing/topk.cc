#include "moehill/routing/topk.h"

#include "moehill/base/error.h"
#include "moehill/routing/router.h"

namespace moehill {

Routing unrouted(const Router& router, int64_t num_tokens, int num_logits, int topk) {
  const int zero_experts = router.rule.zero_experts;
  Routing routing{num_tokens, num_logits - zero_experts, topk, {}, {}};
  routing.expert.resize(static_cast<size_t>(num_tokens * topk));
  routing.weight.resize(routing.expert.size());
  routing.num_zero_experts = zero_experts;
  if (zero_experts > 0) routing.zero.resize(routing.expert.size());
  return routing;
}

void take_spares(const Routing& ranked, Routing& routing) {
  for (auto token = ranked.expert.begin(); token != ranked.expert.end(); token += ranked.topk)
    routing.spare.insert(routing.spare.end(), token + routing.topk, token + ranked.topk);
}

Routing route_all(const Router& router, const std::vector<float>& logits, int64_t num_tokens, int num_logits,
                  int topk, int num_spares) {
  MOEHILL_CHECK(static_cast<int64_t>(logits.size()) == num_tokens * num_logits,
                "{} logits for {} tokens x {} experts", logits.size(), num_tokens, num_logits);
  Routing routing = unrouted(router, num_tokens, num_logits, topk);
  ThreadTeam alone(1);
  route(router, logits.data(), {0, num_tokens}, alone, routing);
  if (num_spares > 0)
    take_spares(route_all(router, logits, num_tokens, num_logits, topk + num_spares), routing);
  return routing;
}

Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk) {
  const Router router;
  refuse_impossible(router.rule, num_experts, topk);
  return route_all(router, logits, num_tokens, num_experts, topk);
}

}  // namespace moehill
