// The check of the router has to pass the router of `profile` and to fail every fault planted in its result.
#include "moehill/moe/router_check.h"

#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <utility>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/routing/topk.h"

namespace moehill {
namespace {

struct Routed {
  std::vector<float> logits;
  Routing routing;
};

// coarse: logits are multiples of a half, so that many of a token are equal.
Routed route(int64_t tokens, int experts, int topk, bool renormalize, bool coarse, float scale = 3) {
  Routed routed{{}, {tokens, experts, topk, {}, {}}};
  for (int64_t i = 0; i < tokens * experts; ++i) {
    const float value = scale * (2 * static_cast<float>(random_uniform(7, Stream::kLogits, i)) - 1);
    routed.logits.push_back(coarse ? std::round(2 * value) / 2 : value);
  }
  routed.routing.expert.resize(static_cast<size_t>(tokens * topk));
  routed.routing.weight.resize(routed.routing.expert.size());
  ThreadTeam team(1);
  route_softmax_topk(routed.logits.data(), {0, tokens}, renormalize, team, routed.routing);
  return routed;
}

std::string fault_of(const Routed& routed, bool renormalized = false) {
  ThreadTeam team(2);
  return router_fault(routed.logits.data(), renormalized, routed.routing, team);
}

TEST(RouterCheck, WhatTheRouterDoesPasses) {
  for (const bool renormalize : {false, true}) {
    for (const bool coarse : {false, true}) {
      for (const auto& [experts, topk] : {std::pair<int, int>{1, 1}, {7, 3}, {9, 9}, {256, 8}}) {
        for (const float scale : {0.1f, 3.0f, 90.0f})
          EXPECT_EQ(fault_of(route(50, experts, topk, renormalize, coarse, scale), renormalize), "")
              << experts;
      }
    }
  }
  Routed routed = route(1, 3, 2, false, false);
  routed.logits = {1, -std::numeric_limits<float>::infinity(), -std::numeric_limits<float>::infinity()};
  ThreadTeam team(1);
  route_softmax_topk(routed.logits.data(), {0, 1}, false, team, routed.routing);
  EXPECT_EQ(fault_of(routed), "");
}

TEST(RouterCheck, EveryPlantedFaultIsSeen) {
  const std::vector<std::pair<const char*, std::function<void(Routing&)>>> faults = {
      {"two choices exchanged", [](Routing& r) { std::swap(r.expert[6], r.expert[7]); }},
      {"a choice twice", [](Routing& r) { r.expert[7] = r.expert[6]; }},
      {"no expert", [](Routing& r) { r.expert[8] = -1; }},
      {"one expert too many", [](Routing& r) { r.expert[8] = r.num_experts; }},
      {"a gate value off by 1e-5", [](Routing& r) { r.weight[8] *= 1 + 1e-5f; }},
      {"a gate value that is no number", [](Routing& r) { r.weight[0] = std::nanf(""); }},
      {"a gate value of zero", [](Routing& r) { r.weight.back() = 0; }},
  };
  for (const auto& [name, plant] : faults) {
    Routed routed = route(20, 7, 3, false, false);
    plant(routed.routing);
    EXPECT_NE(fault_of(routed), "") << name;
  }
}

TEST(RouterCheck, TheWrongOfTwoEqualLogitsIsSeen) {
  Routed routed = route(1, 4, 2, false, false);
  routed.logits = {1, 2, 1, 0};
  ThreadTeam team(1);
  route_softmax_topk(routed.logits.data(), {0, 1}, false, team, routed.routing);
  EXPECT_EQ(fault_of(routed), "");
  routed.routing.expert[1] = 2;  // gate values stay right
  EXPECT_EQ(fault_of(routed), "the router's token 0: expert 0 is left out");
}

TEST(RouterCheck, TheSoftmaxOverTheWrongExpertsIsSeen) {
  EXPECT_NE(fault_of(route(20, 7, 3, true, false), false), "");
  EXPECT_NE(fault_of(route(20, 7, 3, false, false), true), "");
}

}  // namespace
}  // namespace moehill
