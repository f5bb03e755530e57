// The router's decision for many tokens, without their logits ever being in memory at once.
#pragma once

#include "moehill/machine/thread_team.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/plan.h"
#include "moehill/routing/router.h"

namespace moehill {

struct RouteRequest {
  const DistributionOptions& distribution;  // no trace in a stream
  const Router& router;
  int64_t num_tokens;
  int num_logits, topk, num_spares = 0;
  uint32_t seed = 0;
  Range kept{};  // tokens whose logits are kept
};
struct RoutedTokens {
  Routing routing;
  std::vector<float> logits;  // [kept, L]
};
// Returns what route_all() makes of make_logits() of the same arguments. Throws InputError as they do.
RoutedTokens route_stream(const RouteRequest& request);

// Returns what route_stream() routes, without the tokens that the distribution leaves out. For a trace it
// returns what read_trace() reads; num_logits is then the number of experts. The team shares the tokens.
// There are no spares and no kept logits. Throws InputError as these functions do.
Routing route_tokens(const RouteRequest& request, ThreadTeam& team);

}  // namespace moehill
