// Routing block by block is routing at once.
#include "moehill/routing/route_tokens.h"

#include <gtest/gtest.h>

#include "moehill/routing/topk.h"

namespace moehill {
namespace {

TEST(RouteTokens, IsTopkOfAllLogits) {
  for (const Distribution kind : {Distribution::random, Distribution::runs, Distribution::balanced}) {
    DistributionOptions options;
    options.kind = kind;
    const Routing whole = route_topk(make_logits(options, 2500, 8, 3, 6), 2500, 8, 3);
    for (const int num_threads : {1, 3}) {
      ThreadTeam team(num_threads);
      const Routing routing = route_tokens(options, 2500, 8, 3, 6, team);
      EXPECT_EQ(routing.expert, whole.expert) << to_string(options);
      EXPECT_EQ(routing.weight, whole.weight) << to_string(options);
    }
  }
}

}  // namespace
}  // namespace moehill
