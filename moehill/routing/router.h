// Router makes choices and gate values from logits by a rule (router_rule.h), and the gradient of the logits.
// It does not make the logits, which come from a distribution (distribution.h) or from a product with x in
// the step.
//
// Each token is routed by itself and in f32, so its routing is the same on every device and for any number of
// threads.
//
//   const Router router = make_router(rule, num_tokens, num_experts, topk, seed);
//   const Routing routing = route_all(router, logits, num_tokens, num_logits(rule, num_experts), topk);
#pragma once

#include <span>
#include <vector>

#include "moehill/routing/plan.h"
#include "moehill/routing/router_rule.h"

namespace moehill {

// Router is a rule with the tables that it needs. L = num_logits() is the number of experts plus the number
// of zero experts, whose logits come last.
struct Router {
  RouterRule rule{};
  std::vector<float> bias;             // [L] bias of the selection, if the rule has one; otherwise empty
  std::vector<float> expert_scale;     // [L] scale of each expert, if the rule has them; otherwise empty
  std::vector<int32_t> experts_of_id;  // [ids, k] hash table, if the rule has one; otherwise empty
  std::vector<int32_t> id_of_token;    // [T] the id of each token, for the hash table
};

// Makes the tables from a seed. A bias is normal; its deviation is 0.02 times the score at logit 0, which for
// the softmax is 1 / L. So it changes some choices but hardly changes the load. A scale is 1 + 0.1 times a
// normal number. The id of a token and the distinct experts of an id are uniform. Throws InputError as
// refuse_impossible() does.
Router make_router(const RouterRule& rule, int64_t num_tokens, int num_experts, int topk, uint32_t seed);

// Makes the choices and gate values of one token from its L logits. Throws InputError that names token and
// expert for a NaN, for a logit of +inf, and if the largest logit of a softmax is -inf, of all experts or of
// those that a table chose. (A single -inf is legal: that expert is never chosen for its score.) Allocates
// nothing.
void route_token(const Router& router, int64_t token, std::span<const float> logits,
                 std::span<int32_t> chosen, float* weight);

// Returns a margin: if another expert's logit is below `logit` by more than it, that expert's key is surely
// smaller, whichever two experts these are. The key is the number by which experts are chosen. Returns
// infinity if no margin is enough. It is for rules whose scores depend on one logit each, not for the softmax
// over all logits or sparsemixer.
double logit_margin(const Router& router, double logit);

// Routes the rows of `tokens` of logits [T, L] in the same way. `routing` has its sizes already, with
// num_logits() = L.
void route(const Router& router, const float* logits, Range tokens, ThreadTeam& team, Routing& routing);

// Routes all tokens of logits [T, L] on one thread, with num_spares next choices each. The logits of the zero
// experts come last. Throws InputError as route_token() does.
Routing route_all(const Router& router, const std::vector<float>& logits, int64_t num_tokens, int num_logits,
                  int topk, int num_spares = 0);

// Returns a routing that has these sizes but no decisions yet, for route() to fill.
Routing unrouted(const Router& router, int64_t num_tokens, int num_logits, int topk);
// `ranked` has more choices for each token than `routing`, and the first ones are the same. The others become
// the spares of `routing`.
void take_spares(const Routing& ranked, Routing& routing);

// Computes the gate values of the choices that `routing` already has, from the logits [T, L] of all its
// tokens. Throws InputError if the logits of a token's choices have no softmax.
void weigh_choices(const Router& router, const float* logits, ThreadTeam& team, Routing& routing);

// RouterGradient has the operands of route_backward(), which makes dlogits [T, L] from dp [T, k], the
// gradient of the gate values. `logits` may be null with chosen_softmax without scales, for which the gate
// values suffice.
struct RouterGradient {
  const float* logits;
  const Routing& routing;
  const float* dp;
  float* dlogits;
};
// Writes every element of the rows of these tokens. It computes in double, because the terms nearly cancel,
// and rounds once.
void route_backward(const Router& router, const RouterGradient& gradient, Range tokens, ThreadTeam& team);

}  // namespace moehill
