// This header routes many tokens without having all their logits in memory. For a batch that fits,
// make_logits() and route_all() are simpler and give the same routing.
//
//   const Routing routing = route_tokens({.distribution = options, .router = router, .num_tokens = T,
//                                         .num_logits = E, .topk = k, .seed = seed}, team);
#pragma once

#include <functional>

#include "moehill/machine/thread_team.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/plan.h"
#include "moehill/routing/router.h"

namespace moehill {

// RouteRequest has the arguments of both functions. It refers to the distribution and the router and does not
// own them.
struct RouteRequest {
  const DistributionOptions& distribution;  // route_stream() takes no trace
  const Router& router;
  int64_t num_tokens;
  int num_logits, topk, num_spares = 0;
  uint32_t seed = 0;
  Range kept{};  // the tokens whose logits are kept
  // One of the threads of route_tokens() calls this now and then with the share of its tokens that are
  // routed.
  std::function<void(double part)> progress{};
};
// RoutedTokens is the routing, and the logits of the tokens `kept`; L is num_logits.
struct RoutedTokens {
  Routing routing;
  std::vector<float> logits;  // [kept, L]
};
// Returns the routing that route_all() makes from make_logits() with the same arguments. Throws InputError as
// these functions do.
RoutedTokens route_stream(const RouteRequest& request);

// Returns the routing of route_stream(), without the tokens that the distribution leaves out (W4). For a
// trace it returns the routing of read_trace(); num_logits is then the number of experts. The team shares the
// work. The function gives no spares and keeps no logits. Throws InputError as route_stream() and
// read_trace() do.
Routing route_tokens(const RouteRequest& request, ThreadTeam& team);

}  // namespace moehill
