// Router: choices and gate values from logits by a rule, and the gradient of the logits.
//
// Everything is f32 and of one token alone, so it is the same on every device and for any number of threads.
#pragma once

#include <span>
#include <vector>

#include "moehill/routing/plan.h"
#include "moehill/routing/router_rule.h"

namespace moehill {

// A rule with the tables that it needs. L = num_logits(): the experts and the zero experts behind them.
struct Router {
  RouterRule rule{};
  std::vector<float> bias;             // [L] of a selection bias, else empty
  std::vector<float> expert_scale;     // [L] of an expert scale, else empty
  std::vector<int32_t> experts_of_id;  // [ids, k] of a hash table, else empty
  std::vector<int32_t> id_of_token;    // [T] likewise
};

// Tables of a seed. A bias is normal with a deviation of 0.02 of a score at logit 0, which for the softmax is
// 1 / L; so it changes choices and leaves the load nearly that of the logits. A scale is 1 + 0.1 times a
// normal. A token's id and an id's distinct experts are uniform.
// Throws InputError as refuse_impossible() does.
Router make_router(const RouterRule& rule, int64_t num_tokens, int num_experts, int topk, uint32_t seed);

// One token's choices and gate values from its L logits. Throws InputError for a NaN, for an infinite logit
// (but -inf, which no score but zero comes from), and where the largest logit of a softmax is -inf; it names
// token and expert. Allocates nothing.
void route_token(const Router& router, int64_t token, std::span<const float> logits,
                 std::span<int32_t> chosen, float* weight);

// Returns how much less than `logit` another expert's logit must be so that its key, by which experts are
// chosen, is surely smaller, whichever two experts these are; infinity where no logit is small enough. The
// rule has scores of single logits (no softmax over all of them, no sparsemixer).
double logit_margin(const Router& router, double logit);

// Routes the rows of `tokens` of logits [T, L] likewise; `routing` has its sizes, with num_logits() = L.
void route(const Router& router, const float* logits, Range tokens, ThreadTeam& team, Routing& routing);

// All tokens of logits [T, L], on one thread, with this many spares. The last logits are the zero experts'.
// Throws as route_token() does.
Routing route_all(const Router& router, const std::vector<float>& logits, int64_t num_tokens, int num_logits,
                  int topk, int num_spares = 0);

// Gate values of the choices that `routing` has already, of all its tokens' logits [T, L].
void weigh_choices(const Router& router, const float* logits, ThreadTeam& team, Routing& routing);

// The gradient dlogits [T, L] from dp [T, k], that of the gate values. `logits` may be null with
// chosen_softmax, which has all it needs in the gate values.
struct RouterGradient {
  const float* logits;
  const Routing& routing;
  const float* dp;
  float* dlogits;
};
// Writes every element of these tokens' rows. In double, since its terms nearly cancel, and rounded once.
void route_backward(const Router& router, const RouterGradient& gradient, Range tokens, ThreadTeam& team);

}  // namespace moehill
