// The router's decision for many tokens, without their logits ever being in memory at once.
#pragma once

#include "moehill/machine/thread_team.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/plan.h"
#include "moehill/routing/router.h"

namespace moehill {

struct RouteRequest {
  const DistributionOptions& distribution;  // no trace
  const Router& router;
  int64_t num_tokens;
  int num_logits, topk, num_spares;
  uint32_t seed;
  Range kept{};  // tokens whose logits are kept
};
struct RoutedTokens {
  Routing routing;
  std::vector<float> logits;  // [kept, L]
};
// Returns what route_all() makes of make_logits() of the same arguments. Throws InputError as they do.
RoutedTokens route_stream(const RouteRequest& request);

// Returns what route_topk() makes of make_logits() of the same arguments, or what read_trace() has. The team
// shares the tokens. Throws InputError as they do.
Routing route_tokens(const DistributionOptions& options, int64_t num_tokens, int num_experts, int topk,
                     uint32_t seed, ThreadTeam& team);

}  // namespace moehill
