// The check of the router must pass every router, and must fail for every fault that is put into its result.
#include "moehill/moe/router_check.h"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cmath>
#include <functional>
#include <limits>
#include <numeric>
#include <utility>
#include <vector>

#include "moehill/base/rng.h"
#include "moehill/moe/router_reference.h"
#include "moehill/routing/router_families.h"

namespace moehill {
namespace {

struct Routed {
  Router router;
  std::vector<float> logits;
  Routing routing;

  void route_again() {
    ThreadTeam team(1);
    route(router, logits.data(), {0, routing.num_tokens}, team, routing);
  }
};

struct Sizes {
  int64_t tokens = 50;
  int experts = 12, topk = 3;
};

// coarse: logits are multiples of a half, so that many of a token's logits are equal.
Routed route_by(const std::string& text, Sizes sizes, bool coarse = false, float scale = 3) {
  const RouterRule rule = parse_router_rule(text);
  const int num = num_logits(rule, sizes.experts);
  Routed routed{make_router(rule, sizes.tokens, sizes.experts, sizes.topk, 5),
                {},
                {sizes.tokens, num, sizes.topk, {}, {}}};
  for (int64_t i = 0; i < sizes.tokens * num; ++i) {
    const float value =
        scale * (2 * static_cast<float>(random_uniform(7, Stream::kLogits, static_cast<uint64_t>(i))) - 1);
    routed.logits.push_back(coarse ? std::round(2 * value) / 2 : value);
  }
  routed.routing.expert.resize(static_cast<size_t>(sizes.tokens * sizes.topk));
  routed.routing.weight.resize(routed.routing.expert.size());
  routed.route_again();
  return routed;
}

std::string fault_of(const Routed& routed) {
  ThreadTeam team(2);
  return router_fault(routed.router, routed.logits.data(), routed.routing, {0, routed.routing.num_tokens},
                      team);
}

TEST(RouterCheck, WhatTheRoutersDoPasses) {
  for (const RouterFamily& family : kRouterFamilies) {
    for (const bool coarse : {false, true}) {
      for (const Sizes& sizes : {Sizes{50, 12, 3}, Sizes{50, 8, 4}, Sizes{50, 256, 8}}) {
        for (const float scale : {0.1f, 3.0f, 90.0f})
          EXPECT_EQ(fault_of(route_by(family.rule, sizes, coarse, scale)), "")
              << family.models << ", " << sizes.experts << " experts, logits to " << scale;
      }
    }
  }
  for (const char* rule : {"softmax", "softmax,normalized", "sigmoid"}) {
    EXPECT_EQ(fault_of(route_by(rule, {50, 1, 1})), "");
    EXPECT_EQ(fault_of(route_by(rule, {50, 9, 9})), "");
  }
}

TEST(RouterCheck, WhatIsExcludedByItsLogitPasses) {
  const float out = -std::numeric_limits<float>::infinity();
  for (const char* rule : {"softmax", "softmax,normalized", "chosen-softmax", "sigmoid,bias,normalized"}) {
    Routed routed = route_by(rule, {1, 3, 2});
    routed.logits = {1, out, out};
    routed.route_again();
    EXPECT_EQ(fault_of(routed), "") << rule;
  }
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
      {"the factor left out of a token",
       [](Routing& r) { r.weight[3] *= 0.5f, r.weight[4] *= 0.5f, r.weight[5] *= 0.5f; }},
  };
  for (const RouterFamily& family : kRouterFamilies) {
    for (const auto& [name, plant] : faults) {
      Routed routed = route_by(family.rule, {20, 12, 3});
      plant(routed.routing);
      EXPECT_NE(fault_of(routed), "") << family.models << ": " << name;
    }
  }
}

// A router that leaves out a part of its rule fails the check.
TEST(RouterCheck, AnotherRuleIsSeen) {
  for (const auto& [rule, other] : std::vector<std::pair<const char*, const char*>>{
           {"softmax", "softmax,normalized"},
           {"softmax,normalized", "softmax"},
           {"sigmoid,bias,normalized", "sigmoid,normalized"},
           {"sigmoid,normalized,factor:2.5", "sigmoid,normalized"},
           {"sigmoid,groups:4/2,normalized", "sigmoid,normalized"},
           {"sigmoid,groups:4/2,normalized", "sigmoid,groups-max:4/2,normalized"},
           {"sigmoid,groups:4/2,normalized", "sigmoid,groups:4/3,normalized"},
           {"sqrt-softplus,normalized", "sigmoid,normalized"},
           {"sqrt-softplus,hash:50", "sqrt-softplus"},
           {"softmax,normalized,expert-scale", "softmax,normalized"},
           {"chosen-softmax", "softmax"},
           {"sparsemixer,jitter:0.2", "chosen-softmax"},
           {"sparsemixer,jitter:0.2", "sparsemixer,jitter:0.15"},
       }) {
    Routed right = route_by(rule, {200, 12, 3});
    EXPECT_EQ(fault_of(right), "") << rule;
    const Routed wrong = route_by(other, {200, 12, 3});
    right.routing = wrong.routing;
    EXPECT_NE(fault_of(right), "") << rule << " by " << other;
  }
}

TEST(RouterCheck, TheWrongOfTwoEqualLogitsIsSeen) {
  for (const char* rule : {"softmax", "sigmoid,groups:2/2", "chosen-softmax"}) {
    Routed routed = route_by(rule, {1, 4, 2});
    routed.logits = {1, 2, 1, 0};
    routed.route_again();
    EXPECT_EQ(fault_of(routed), "");
    routed.routing.expert[1] = 2;  // the gate values stay right
    EXPECT_EQ(fault_of(routed), "the router's token 0: expert 0 is left out") << rule;
  }
}

TEST(RouterCheck, TheWrongOfTwoEqualGroupsIsSeen) {
  Routed routed = route_by("sigmoid,groups:2/1", {1, 4, 2});
  routed.logits = {1, 2, 2, 1};
  routed.route_again();
  EXPECT_EQ(routed.routing.expert, (std::vector<int32_t>{1, 0}));
  EXPECT_EQ(fault_of(routed), "");
  routed.routing.expert = {2, 3};
  EXPECT_EQ(fault_of(routed), "the router's token 0: expert 2 is chosen, of group 1 that is not kept");
}

TEST(RouterCheck, TheBetterOfTwoGroupsWithEqualBestExpertsPasses) {
  Routed routed = route_by("sigmoid,bias,groups:2/1", {1, 4, 2});
  const auto expect_second_group = [&] {
    routed.route_again();
    EXPECT_EQ(routed.routing.expert, (std::vector<int32_t>{2, 3}));
    EXPECT_EQ(fault_of(routed), "");
  };
  routed.router.bias = {0, 0, 0, 0};
  routed.logits = {2, 0, 2, 1};
  expect_second_group();
  routed.router.bias = {0, 0, 0, 0.1f};
  routed.logits = {2, 1, 2, 1};
  expect_second_group();
}

// Groups 0 and 1 are kept, and group 1 is the better one.
TEST(RouterCheck, TheBestExpertOfTheLastKeptGroupMustBeChosen) {
  Routed routed = route_by("sigmoid,groups:4/2", {1, 8, 2});
  routed.logits = {5, 0, 4, 3, 1, 1, 0, 0};
  routed.route_again();
  EXPECT_EQ(routed.routing.expert, (std::vector<int32_t>{0, 2}));
  EXPECT_EQ(fault_of(routed), "");
  routed.routing.expert = {2, 3};
  EXPECT_EQ(fault_of(routed), "the router's token 0: expert 0 is left out");
}

TEST(LogitsCheck, LogitsOfXAndTheRoutersMatrixPassAndOthersAreNamed) {
  constexpr int64_t kFewTokens = 5, kFewColumns = 9, kLogits = 7;
  const Matrix x(kFewTokens, kFewColumns, DType::f32);
  const WeightStack matrix(WeightLayout::row_major, 1, kFewColumns, kLogits, DType::f32);
  BlockTensors tensors;
  tensors.x = x;
  tensors.weights.wg = {matrix, LogicalWeights::Part::all, kLogits};
  const auto random = [](Stream stream, int64_t i) {
    return static_cast<float>(random_normal(1, stream, static_cast<uint64_t>(i)));
  };
  for (int64_t h = 0; h < kFewColumns; ++h) {
    for (int64_t t = 0; t < kFewTokens; ++t) tensors.x.set(t, h, random(Stream::kX, t * kFewColumns + h));
    for (int64_t l = 0; l < kLogits; ++l)
      tensors.weights.wg.set(0, h, l, random(Stream::kW1, h * kLogits + l));
  }
  std::vector<float> logits;
  for (int64_t i = 0; i < kFewTokens * kLogits; ++i) {
    double sum = 0;
    for (int64_t h = 0; h < kFewColumns; ++h) {
      sum += static_cast<double>(tensors.x.at(i / kLogits, h)) *
             static_cast<double>(tensors.weights.wg.at(0, h, i % kLogits));
    }
    logits.push_back(static_cast<float>(sum));
  }
  tensors.logits = logits.data();
  for (uint32_t seed = 0; seed < 10; ++seed) {
    EXPECT_EQ(logits_fault(tensors, {0, kFewTokens}, seed), "");
    for (size_t i = 0; i < logits.size(); ++i) {
      const float right = logits[i];
      logits[i] += 1e-3f;
      const int64_t token = static_cast<int64_t>(i) / kLogits;
      const std::string fault = logits_fault(tensors, {0, kFewTokens}, seed);
      EXPECT_EQ(fault.substr(0, fault.find(": off")),
                fmt::format("the router's token {}: its logits are not x W_g", token));
      EXPECT_EQ(
          logits_fault(tensors, {0, token}, seed) + logits_fault(tensors, {token + 1, kFewTokens}, seed), "");
      logits[i] = right;
    }
  }
}

// Compares the slopes with central differences of the reference's own gate values over a router's f32 logits.
TEST(RouterReference, HasTheSlopesOfItsGateValues) {
  for (const RouterFamily& family : kRouterFamilies) {
    Routed routed = route_by(family.rule, {4, 12, 3});
    for (float& logit : routed.logits) logit = std::round(logit * 0x1p12f) * 0x1p-12f;
    routed.route_again();
    const size_t num = static_cast<size_t>(routed.routing.num_experts);
    for (int64_t t = 0; t < 4; ++t) {
      const std::span<const int32_t> chosen{routed.routing.expert.data() + t * 3, 3};
      const auto slopes = gate_slopes(&routed.router, routed.logits.data(), routed.routing, t).value;
      for (size_t e = 0; e < num; ++e) {
        const auto values_at = [&](float step) {
          std::vector<float> row(routed.logits.begin() + t * static_cast<int64_t>(num),
                                 routed.logits.begin() + (t + 1) * static_cast<int64_t>(num));
          row[e] += step;
          return RouterReference(routed.router, row).gate_values(chosen);
        };
        const auto above = values_at(0x1p-12f), below = values_at(-0x1p-12f);
        for (int64_t j = 0; j < 3; ++j) {
          const size_t i = static_cast<size_t>(j);
          EXPECT_NEAR(slopes.row(j)[e], (above[i].value - below[i].value) * 0x1p11,
                      1e-6 * routed.router.rule.factor)
              << family.models << ", token " << t << ", choice " << j << ", logit " << e;
        }
      }
    }
  }
}

TEST(RouterReference, WithoutARouterTakesTheSoftmaxOverTheChosen) {
  const Routed routed = route_by("chosen-softmax", {9, 7, 3});
  for (int64_t t = 0; t < 9; ++t) {
    const auto with = gate_slopes(&routed.router, routed.logits.data(), routed.routing, t);
    const auto without = gate_slopes(nullptr, nullptr, routed.routing, t);
    for (size_t i = 0; i < with.value.values.size(); ++i)
      EXPECT_NEAR(with.value.values[i], without.value.values[i], 1e-6);
  }
}

}  // namespace
}  // namespace moehill
