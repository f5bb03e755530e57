// Routing block by block gives the routing of all tokens at once.
#include "moehill/routing/route_tokens.h"

#include <gtest/gtest.h>

#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

TEST(RouteTokens, IsTopkOfAllLogits) {
  for (const Distribution kind : {Distribution::random, Distribution::runs, Distribution::balanced}) {
    DistributionOptions options;
    options.kind = kind;
    const Routing whole = route_topk(make_logits(options, 2500, 8, 3, 6), 2500, 8, 3);
    for (const int num_threads : {1, 3}) {
      ThreadTeam team(num_threads);
      const Routing routing = route_tokens({options, Router{}, 2500, 8, 3, 0, 6}, team);
      EXPECT_EQ(routing.expert, whole.expert) << to_string(options);
      EXPECT_EQ(routing.weight, whole.weight) << to_string(options);
    }
  }
}

// With many experts most logits are never computed.
TEST(RouteTokens, OfManyExpertsIsTopkOfAllLogits) {
  DistributionOptions later;
  later.step = 3;
  for (const DistributionOptions& options : {DistributionOptions{}, later}) {
    const Routing whole = route_topk(make_logits(options, 2500, 256, 8, 6), 2500, 256, 8);
    ThreadTeam team(2);
    const Routing routing = route_tokens({options, Router{}, 2500, 256, 8, 0, 6}, team);
    EXPECT_EQ(routing.expert, whole.expert);
    EXPECT_EQ(routing.weight, whole.weight);
  }
}

TEST(RouteStream, IsRoutingAtOnceAndKeepsTheRowsAskedFor) {
  constexpr int64_t kTokens = 2500;
  for (const char* text : {"chosen-softmax", "sigmoid,bias", "softmax,zero:2", "sigmoid,hash:50"}) {
    const RouterRule rule = parse_router_rule(text);
    const int num = num_logits(rule, 8);
    const Router router = make_router(rule, kTokens, 8, 3, 6);
    const std::vector<float> logits = make_logits({}, kTokens, num, 3, 6);
    for (const int spares : {0, rule.hash_ids > 0 ? 0 : 2}) {  // a table has no spares
      const Routing whole = route_all(router, logits, kTokens, num, 3, spares);
      for (const Range kept : {Range{0, 0}, Range{0, kTokens}, Range{1000, 1100}, Range{2499, 2500}}) {
        const RoutedTokens routed = route_stream({{}, router, kTokens, num, 3, spares, 6, kept});
        EXPECT_EQ(routed.routing.expert, whole.expert) << text;
        EXPECT_EQ(routed.routing.weight, whole.weight) << text;
        EXPECT_EQ(routed.routing.zero, whole.zero) << text;
        EXPECT_EQ(routed.routing.spare, whole.spare) << text;
        const std::vector<float> rows(logits.begin() + kept.begin * num, logits.begin() + kept.end * num);
        EXPECT_EQ(routed.logits, rows) << text;
      }
    }
  }
}

// A block has 1024 tokens.
TEST(RouteTokens, TellsItsProgressEvery32Blocks) {
  constexpr int64_t kTokens = 33 * 1024;
  const DistributionOptions distribution;
  const Router router;
  RouteRequest request{distribution, router, kTokens, 4, 1};
  std::vector<double> parts;
  request.progress = [&](double part) { parts.push_back(part); };
  ThreadTeam team(1);
  route_tokens(request, team);
  EXPECT_EQ(parts, (std::vector<double>{1.0 / 33, 1}));
}

TEST(RouteTokens, IsTheStreamsForAnyRule) {
  struct Case {
    const char* rule;
    int experts, topk;
  };
  for (const Case& c : {Case{"sigmoid,bias,groups:4/2", 8, 3}, Case{"softmax,groups-max:2/1", 8, 3},
                        Case{"softmax,zero:2", 8, 3}, Case{"sigmoid,bias,groups:8/4", 256, 8},
                        Case{"sigmoid,bias,groups:8/4", 256, 1}, Case{"sigmoid,groups:8/4", 256, 8},
                        Case{"sigmoid,groups-max:8/2", 256, 7}, Case{"sqrt-softplus,bias", 128, 6},
                        Case{"sigmoid,bias,groups:4/1", 128, 6}, Case{"sigmoid,bias", 64, 64}}) {
    const RouterRule rule = parse_router_rule(c.rule);
    const int num = num_logits(rule, c.experts);
    Router router = make_router(rule, 2500, c.experts, c.topk, 6);
    for (const float stretch : {1.0f, 20.0f}) {  // at 20, the largest biases decide alone
      for (float& bias : router.bias) bias *= stretch;
      const RouteRequest request{{}, router, 2500, num, c.topk, 0, 6};
      const Routing whole = route_stream(request).routing;
      ThreadTeam team(3);
      const Routing routing = route_tokens(request, team);
      EXPECT_EQ(routing.expert, whole.expert) << c.rule;
      EXPECT_EQ(routing.weight, whole.weight) << c.rule;
      EXPECT_EQ(routing.zero, whole.zero) << c.rule;
    }
  }
}

}  // namespace
}  // namespace moehill
