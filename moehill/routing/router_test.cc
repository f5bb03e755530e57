// Compares routers of known models with plain code: choices with a sort, gate values and gradients with
// double.
#include "moehill/routing/router.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/router_families.h"
#include "moehill/routing/statistics.h"

namespace moehill {
namespace {

constexpr int kTokens = 40, kExperts = 12, kTopk = 3;

struct Routed {
  Router router;
  std::vector<float> logits;
  Routing routing;
  int num() const { return routing.num_experts; }
  const float* row(int64_t t) const { return logits.data() + t * num(); }
};

Routed routed_by(const std::string& text, bool coarse = false, int threads = 1) {
  const RouterRule rule = parse_router_rule(text);
  const int num = num_logits(rule, kExperts);
  Routed r{make_router(rule, kTokens, kExperts, kTopk, 3),
           make_logits({}, kTokens, num, 1, 4),
           {kTokens, num, kTopk, {}, {}}};
  for (float& logit : r.logits) logit = coarse ? std::round(2 * logit) / 2 : 3 * logit;
  r.routing.expert.assign(kTokens * kTopk, -1);
  r.routing.weight.assign(kTokens * kTopk, std::nanf(""));
  ThreadTeam team(threads);
  route(r.router, r.logits.data(), {0, kTokens}, team, r.routing);
  return r;
}

double score_of(RouterScore kind, double z) {
  if (kind == RouterScore::sigmoid) return 1 / (1 + std::exp(-z));
  return kind == RouterScore::sqrt_softplus ? std::sqrt(std::log(1 + std::exp(z))) : std::exp(z);
}

// Returns the gate values of one token in double, from the definition; `chosen` is not changed.
std::vector<double> mixer_gates(const Routed& held, int64_t t, const std::vector<double>& z,
                                const int32_t* chosen) {
  std::vector<double> gates;
  std::vector<float> open(held.row(t), held.row(t) + held.num());  // the f32 logits decide who takes part
  for (int j = 0; j < kTopk; ++j) {
    const float m = *std::max_element(open.begin(), open.end());
    double sum = 0;
    for (size_t e = 0; e < z.size(); ++e) {
      if (std::isinf(open[e])) continue;
      const float far = (m - open[e]) / std::max(std::abs(open[e]), m);
      if (far <= 2 * static_cast<float>(held.router.rule.jitter)) sum += std::exp(z[e]);
    }
    const size_t choice = static_cast<size_t>(chosen[j]);
    gates.push_back(std::exp(z[choice]) / sum);
    open[choice] = -std::numeric_limits<float>::infinity();
  }
  return gates;
}

std::vector<double> gate_values(const Routed& r, int64_t t, const std::vector<double>& z,
                                const int32_t* chosen) {
  const Router& router = r.router;
  const RouterRule& rule = router.rule;
  if (rule.score == RouterScore::sparsemixer) return mixer_gates(r, t, z, chosen);
  double all = 1;
  if (rule.score == RouterScore::softmax) {
    all = 0;
    for (const double logit : z) all += std::exp(logit);
  }
  std::vector<double> s;
  for (int j = 0; j < kTopk; ++j) s.push_back(score_of(rule.score, z[static_cast<size_t>(chosen[j])]) / all);
  const double sum = std::accumulate(s.begin(), s.end(), 0.0);
  const bool divides = rule.normalized || rule.score == RouterScore::chosen_softmax;
  for (size_t j = 0; j < s.size(); ++j) {
    if (divides) s[j] /= sum;
    s[j] *= rule.factor;
    if (rule.expert_scale) s[j] *= static_cast<double>(router.expert_scale[static_cast<size_t>(chosen[j])]);
  }
  return s;
}

std::vector<double> row_in_double(const Routed& r, int64_t t) { return {r.row(t), r.row(t) + r.num()}; }

TEST(Router, GateValuesAreThoseOfTheDefinition) {
  for (const RouterFamily& family : kRouterFamilies) {
    const Routed r = routed_by(family.rule);
    for (int64_t t = 0; t < kTokens; ++t) {
      const std::vector<double> right =
          gate_values(r, t, row_in_double(r, t), r.routing.expert.data() + t * kTopk);
      for (size_t j = 0; j < kTopk; ++j) {
        EXPECT_NEAR(r.routing.weight[static_cast<size_t>(t) * kTopk + j] / right[j], 1, 3e-6)
            << family.models << ", token " << t;
      }
    }
  }
}

// Chooses by sorting the keys, and groups by sorting theirs. The sort is stable, so ties go to the lower id.
std::vector<int32_t> sorted_choice(const Routed& r, int64_t t) {
  const RouterRule& rule = r.router.rule;
  const size_t num = static_cast<size_t>(r.num()), groups = static_cast<size_t>(rule.groups);
  const std::vector<double> z = row_in_double(r, t);
  float sum = 0;
  const float largest = *std::max_element(r.row(t), r.row(t) + num);
  for (size_t e = 0; e < num; ++e) sum += std::exp(r.row(t)[e] - largest);
  std::vector<float> key(r.row(t), r.row(t) + num);
  for (size_t e = 0; e < num && (rule.bias || groups > 1); ++e) {
    const float logit = key[e];
    key[e] = static_cast<float>(score_of(rule.score, z[e]));
    if (rule.score == RouterScore::softmax) key[e] = std::exp(logit - largest) / sum;
    if (rule.bias) key[e] += r.router.bias[e];
  }
  const size_t size = num / groups;
  std::vector<std::pair<float, size_t>> rank;
  for (size_t g = 0; g < groups; ++g) {
    std::vector<float> of_group(key.begin() + static_cast<ptrdiff_t>(g * size),
                                key.begin() + static_cast<ptrdiff_t>((g + 1) * size));
    std::sort(of_group.rbegin(), of_group.rend());
    rank.push_back({rule.best_two && groups > 1 ? of_group[0] + of_group[1] : of_group[0], g});
  }
  std::stable_sort(rank.begin(), rank.end(), [](auto a, auto b) { return a.first > b.first; });
  rank.resize(static_cast<size_t>(rule.kept_groups));
  std::vector<int32_t> order;
  for (size_t e = 0; e < num; ++e) {
    if (std::any_of(rank.begin(), rank.end(), [&](auto kept) { return kept.second == e / size; }))
      order.push_back(static_cast<int32_t>(e));
  }
  std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) {
    return key[static_cast<size_t>(a)] > key[static_cast<size_t>(b)];
  });
  order.resize(kTopk);
  return order;
}

TEST(Router, ChoosesTheLargestKeysOfTheBestGroups) {
  for (const RouterFamily& family : kRouterFamilies) {
    for (const bool coarse : {false, true}) {  // coarse logits have many ties
      Routed r = routed_by(family.rule, coarse);
      if (r.router.rule.hash_ids > 0) continue;
      int same = 0;
      for (int64_t t = 0; t < kTokens; ++t) {
        const auto first = r.routing.expert.begin() + t * kTopk;
        same += std::vector<int32_t>(first, first + kTopk) == sorted_choice(r, t);
      }
      // A sigmoid in double, rounded, may be the neighbour of one in f32.
      EXPECT_GE(same, kTokens - (r.router.rule.score == RouterScore::softmax ? 0 : 1)) << family.models;
    }
  }
}

TEST(Router, TiesGoToTheLowerExpertAndToTheLowerGroup) {
  ThreadTeam team(1);
  const auto chosen = [&](const std::string& rule, std::vector<float> logits, int topk) {
    const int num = static_cast<int>(logits.size());
    Routing routing{1, num, topk, std::vector<int32_t>(static_cast<size_t>(topk)),
                    std::vector<float>(static_cast<size_t>(topk))};
    Router router{parse_router_rule(rule), {}, {}, {}, {}};
    if (router.rule.bias) router.bias.assign(logits.size(), 0);
    route(router, logits.data(), {0, 1}, team, routing);
    return routing.expert;
  };
  using Ids = std::vector<int32_t>;
  EXPECT_EQ(chosen("sigmoid,bias", {1, 1, 1, 1}, 2), (Ids{0, 1}));
  EXPECT_EQ(chosen("sigmoid,bias", {40, 41, 1, 42}, 2), (Ids{0, 1}));  // all three scores are 1 in f32
  EXPECT_EQ(chosen("sigmoid,groups:3/2", {0, 2, 1, 1, 2, 0}, 3), (Ids{1, 2, 3}));
  EXPECT_EQ(chosen("sigmoid,groups:2/1", {3, -9, 2, 2}, 2), (Ids{2, 3}));
  EXPECT_EQ(chosen("softmax,groups-max:2/1", {3, -9, 2, 2}, 2), (Ids{0, 1}));
}

TEST(Router, ABiasChoosesAndLeavesTheGateValueAlone) {
  ThreadTeam team(1);
  const std::vector<float> logits = {0, 1, 2, 3};
  Routing routing{1, 4, 1, {-1}, {0}};
  Router router{parse_router_rule("sigmoid,bias,factor:2"), {9, 0, 0, 0}, {}, {}, {}};
  route(router, logits.data(), {0, 1}, team, routing);
  EXPECT_EQ(routing.expert[0], 0);
  EXPECT_FLOAT_EQ(routing.weight[0], 1.0f);  // 2 sigmoid(0)
}

// Two choices as the model's code makes them: m = 5, and 4.95 is 0.01 below it. Among the rest m is 4.95, and
// 4.6 is 0.07 below that.
TEST(Router, SparsemixerCountsTheExpertsNearTheBest) {
  const Router router{parse_router_rule("sparsemixer"), {}, {}, {}, {}};
  const std::vector<float> logits = {4.6f, 5, -7, 4.95f, 1};
  std::vector<int32_t> chosen(2);
  std::vector<float> weight(2);
  route_token(router, 0, logits, chosen, weight.data());
  EXPECT_EQ(chosen, (std::vector<int32_t>{1, 3}));
  EXPECT_NEAR(weight[0], 1 / (1 + std::exp(-0.05)), 1e-6);
  EXPECT_EQ(weight[1], 1.0f);
  const std::vector<float> negative = {-1, -1.015f, -1.5f, -3, -9};  // by |z| if it is more than m
  route_token(router, 0, negative, chosen, weight.data());
  EXPECT_EQ(chosen, (std::vector<int32_t>{0, 1}));
  EXPECT_NEAR(weight[0], 1 / (1 + std::exp(-0.015)), 1e-6);
  EXPECT_EQ(weight[1], 1.0f);
}

TEST(Router, AHashTableChoosesByTheTokensId) {
  const Routed r = routed_by("sqrt-softplus,normalized,factor:1.5,hash:50");
  EXPECT_EQ(r.router.experts_of_id.size(), 50u * kTopk);
  EXPECT_EQ(r.router.id_of_token.size(), static_cast<size_t>(kTokens));
  for (size_t id = 0; id < 50; ++id) {
    std::vector<int32_t> row(r.router.experts_of_id.begin() + static_cast<ptrdiff_t>(id * kTopk),
                             r.router.experts_of_id.begin() + static_cast<ptrdiff_t>((id + 1) * kTopk));
    std::sort(row.begin(), row.end());
    EXPECT_TRUE(std::adjacent_find(row.begin(), row.end()) == row.end() && row.front() >= 0 &&
                row.back() < kExperts);
  }
  for (size_t t = 0; t < kTokens; ++t) {
    const auto id = static_cast<size_t>(r.router.id_of_token[t]);
    ASSERT_LT(id, 50u);
    for (size_t j = 0; j < kTopk; ++j)
      EXPECT_EQ(r.routing.expert[t * kTopk + j], r.router.experts_of_id[id * kTopk + j]);
  }
}

// An expert is choice j of about 500 of the 6000 ids. The deviation of such a number is 21.
TEST(Router, AHashTableHasEachExpertAboutEquallyOftenAtEachChoice) {
  const Router router = make_router(parse_router_rule("sigmoid,hash:6000"), 1, kExperts, kTopk, 3);
  for (size_t j = 0; j < kTopk; ++j) {
    std::vector<int> times(kExperts);
    for (size_t id = 0; id < 6000; ++id) ++times[static_cast<size_t>(router.experts_of_id[id * kTopk + j])];
    for (const int times_of_expert : times) EXPECT_NEAR(times_of_expert, 500, 120) << "choice " << j;
  }
}

// Tokens 7 to 18 are asked for; the tests below leave these numbers in all others.
constexpr Range kAsked{7, 19};
constexpr int32_t kLeft = -7;
constexpr float kLeftValue = 9;
bool is_asked(size_t token) { return token >= 7 && token < 19; }

TEST(Router, RoutesTheTokensAskedForAlone) {
  for (const char* rule : {"sigmoid,bias,normalized", "sparsemixer", "softmax,bias,factor:6,zero:4"}) {
    const Routed r = routed_by(rule);
    const Routing whole = route_all(r.router, r.logits, kTokens, r.num(), kTopk);
    Routing part = unrouted(r.router, kTokens, r.num(), kTopk);
    std::fill(part.expert.begin(), part.expert.end(), kLeft);
    std::fill(part.weight.begin(), part.weight.end(), kLeftValue);
    std::fill(part.zero.begin(), part.zero.end(), kLeft);
    ThreadTeam team(3);
    route(r.router, r.logits.data(), kAsked, team, part);
    for (size_t a = 0; a < whole.expert.size(); ++a) {
      const bool asked = is_asked(a / kTopk);
      EXPECT_EQ(part.expert[a], asked ? whole.expert[a] : kLeft) << rule << " " << a;
      EXPECT_EQ(part.weight[a], asked ? whole.weight[a] : kLeftValue) << rule << " " << a;
    }
    for (size_t a = 0; a < whole.zero.size(); ++a)
      EXPECT_EQ(part.zero[a], is_asked(a / kTopk) ? whole.zero[a] : kLeft) << rule << " " << a;
  }
}

TEST(Router, WeighsTheChoicesOfItsTokensAsItRoutesThem) {
  for (const RouterFamily& family : kRouterFamilies) {
    const Routed r = routed_by(family.rule);
    Routing again = r.routing;
    again.num_tokens = 19;
    std::fill(again.weight.begin(), again.weight.end(), kLeftValue);
    ThreadTeam team(3);
    weigh_choices(r.router, r.logits.data(), team, again);
    for (size_t a = 0; a < again.weight.size(); ++a)
      EXPECT_EQ(again.weight[a], a / kTopk < 19 ? r.routing.weight[a] : kLeftValue) << family.models << a;
  }
}

// Zero experts have the numbers after the experts; a routing keeps them apart.
TEST(Router, TellsZeroExpertsFromExperts) {
  const Routed r = routed_by("softmax,bias,factor:6,zero:4");
  const Routing parted = route_all(r.router, r.logits, kTokens, r.num(), kTopk);
  EXPECT_EQ(parted.num_experts, kExperts);
  EXPECT_EQ(parted.num_logits(), r.num());
  EXPECT_EQ(parted.weight, r.routing.weight);
  int64_t num_zero = 0;
  for (size_t a = 0; a < parted.expert.size(); ++a) {
    const int32_t id = r.routing.expert[a];
    num_zero += id >= kExperts;
    EXPECT_EQ(parted.logit_of(a), id);
    EXPECT_EQ(parted.expert[a], id < kExperts ? id : kNoExpert);
    EXPECT_EQ(parted.zero[a], id < kExperts ? -1 : id - kExperts);
  }
  EXPECT_GT(num_zero, 0);
  EXPECT_EQ(num_zero_choices(parted), num_zero);
  const std::vector<float> dp = make_logits({}, kTokens, kTopk, 1, 5);
  std::vector<float> whole(r.logits.size()), of_parts(r.logits.size());
  ThreadTeam team(2);
  route_backward(r.router, {r.logits.data(), r.routing, dp.data(), whole.data()}, {0, kTokens}, team);
  route_backward(r.router, {r.logits.data(), parted, dp.data(), of_parts.data()}, {0, kTokens}, team);
  EXPECT_EQ(whole, of_parts);
}

TEST(Router, IsTheSameForAnyTeam) {
  for (const RouterFamily& family : kRouterFamilies) {
    const Routed one = routed_by(family.rule), three = routed_by(family.rule, false, 3);
    EXPECT_EQ(one.routing.expert, three.routing.expert) << family.models;
    EXPECT_EQ(one.routing.weight, three.routing.weight) << family.models;
  }
}

TEST(Router, FarLogitsHaveGateValuesThatAreNumbers) {
  ThreadTeam team(1);
  const float infinity = std::numeric_limits<float>::infinity();
  for (const RouterFamily& family : kRouterFamilies) {
    const RouterRule rule = parse_router_rule(family.rule);
    const int num = num_logits(rule, kExperts);
    const Router router = make_router(rule, 1, kExperts, kTopk, 3);
    for (const float far : {1e30f, -1e30f, -infinity}) {
      std::vector<float> logits(static_cast<size_t>(num), far);
      logits[0] = 1;
      Routing routing{1, num, kTopk, std::vector<int32_t>(kTopk), std::vector<float>(kTopk)};
      route(router, logits.data(), {0, 1}, team, routing);
      std::vector<float> dlogits(static_cast<size_t>(num));
      route_backward(router, {logits.data(), routing, std::vector<float>{1, 2, 3}.data(), dlogits.data()},
                     {0, 1}, team);
      for (const float value : routing.weight)
        EXPECT_TRUE(std::isfinite(value)) << family.models << " at " << far;
      for (const float value : dlogits) EXPECT_TRUE(std::isfinite(value)) << family.models << " at " << far;
    }
  }
}

TEST(Router, RefusesLogitsThatAreNoNumbers) {
  const Router router = make_router(parse_router_rule("sigmoid,bias"), 1, 4, 2, 0);
  std::vector<int32_t> chosen(2);
  std::vector<float> weight(2);
  const auto try_with = [&](float bad) {
    const std::vector<float> logits = {1, 2, bad, 0};
    route_token(router, 5, logits, chosen, weight.data());
  };
  EXPECT_THROW(try_with(std::nanf("")), InputError);
  EXPECT_THROW(try_with(std::numeric_limits<float>::infinity()), InputError);
  EXPECT_NO_THROW(try_with(-std::numeric_limits<float>::infinity()));
}

// Over logits of -inf alone there is no softmax, though the token has finite logits, too.
TEST(Router, RefusesATableThatChoosesOnlyInfiniteLogits) {
  Router router = make_router(parse_router_rule("chosen-softmax,hash:1"), 1, 3, 2, 0);
  router.experts_of_id = {0, 2};
  const float infinity = std::numeric_limits<float>::infinity();
  std::vector<float> logits = {-infinity, 0, -infinity};
  Routing routing{1, 3, 2, {0, 2}, {0, 0}};
  ThreadTeam team(1);
  const auto refusal = [](const auto& work) -> std::string {
    try {
      work();
    } catch (const InputError& error) {
      return error.what();
    }
    return "nothing";
  };
  const std::string routed = refusal([&] {
    route(router, logits.data(), {0, 1}, team, routing);
  }),
                    weighed = refusal([&] { weigh_choices(router, logits.data(), team, routing); });
  EXPECT_NE(routed.find("for token 0, expert 0"), std::string::npos) << routed << " (the first one)";
  EXPECT_EQ(weighed, routed);
  logits[2] = 0;
  route(router, logits.data(), {0, 1}, team, routing);
  EXPECT_EQ(routing.weight, (std::vector<float>{0, 1}));
}

// The reference is the central difference of sum_j dp_j p_j in double, with the choices held fixed.
TEST(RouteBackward, IsTheGradientOfTheGateValues) {
  const std::vector<float> dp = make_logits({}, kTokens, kTopk, 1, 5);
  for (const RouterFamily& family : kRouterFamilies) {
    const Routed r = routed_by(family.rule);
    for (const int num_threads : {1, 3}) {
      ThreadTeam team(num_threads);
      std::vector<float> dlogits(r.logits.size(), std::nanf(""));  // every element must be written
      route_backward(r.router, {r.logits.data(), r.routing, dp.data(), dlogits.data()}, {0, kTokens}, team);
      for (int64_t t = 0; t < kTokens; ++t) {
        const auto loss = [&](size_t moved, double step) {
          std::vector<double> z = row_in_double(r, t);
          z[moved] += step;
          const std::vector<double> p = gate_values(r, t, z, r.routing.expert.data() + t * kTopk);
          double sum = 0;
          for (size_t j = 0; j < kTopk; ++j) sum += p[j] * dp[static_cast<size_t>(t) * kTopk + j];
          return sum;
        };
        for (size_t e = 0; e < static_cast<size_t>(r.num()); ++e) {
          const double slope = (loss(e, 1e-5) - loss(e, -1e-5)) / 2e-5;
          EXPECT_NEAR(dlogits[static_cast<size_t>(t * r.num()) + e], slope, 2e-6 * r.router.rule.factor)
              << family.models << ", token " << t << ", logit " << e;
        }
      }
    }
  }
}

TEST(RouteBackward, WritesTheRowsOfItsTokensAlone) {
  const std::vector<float> dp = make_logits({}, kTokens, kTopk, 1, 5);
  for (const RouterFamily& family : kRouterFamilies) {
    const Routed r = routed_by(family.rule);
    std::vector<float> whole(r.logits.size()), part(r.logits.size(), kLeftValue);
    ThreadTeam team(3);
    route_backward(r.router, {r.logits.data(), r.routing, dp.data(), whole.data()}, {0, kTokens}, team);
    route_backward(r.router, {r.logits.data(), r.routing, dp.data(), part.data()}, kAsked, team);
    const size_t num = static_cast<size_t>(r.num());
    for (size_t i = 0; i < part.size(); ++i)
      EXPECT_EQ(part[i], is_asked(i / num) ? whole[i] : kLeftValue) << family.models << " " << i;
  }
}

TEST(RouteBackward, OfTheSoftmaxOverTheChosenNeedsNoLogits) {
  const Routed r = routed_by("chosen-softmax");
  const std::vector<float> dp(kTokens * kTopk, 0.5f);
  std::vector<float> with(r.logits.size()), without(r.logits.size(), 1);
  ThreadTeam team(1);
  route_backward(r.router, {r.logits.data(), r.routing, dp.data(), with.data()}, {0, kTokens}, team);
  route_backward(r.router, {nullptr, r.routing, dp.data(), without.data()}, {0, kTokens}, team);
  EXPECT_EQ(with, without);
}

// The gate value of a scale of 0 is 0 and does not tell the softmax, on which the other gate values depend.
TEST(RouteBackward, AScaleMayBeZero) {
  Router router = make_router(parse_router_rule("chosen-softmax,expert-scale"), 1, 4, 2, 0);
  router.expert_scale = {0, 1, 1, 1};
  const std::vector<float> dp = {1, 1};
  ThreadTeam team(1);
  for (const float least : {0.0f, 900.0f}) {  // exp(900) is infinite
    const std::vector<float> logits = {least + 3, least + 2, least + 1, least};
    const Routing routing = route_all(router, logits, 1, 4, 2);
    std::vector<float> dlogits(4, std::nanf(""));
    route_backward(router, {logits.data(), routing, dp.data(), dlogits.data()}, {0, 1}, team);
    const double q = 1 / (1 + std::exp(1.0));  // of expert 1
    EXPECT_NEAR(dlogits[0], -q * (1 - q), 1e-6);
    EXPECT_NEAR(dlogits[1], q * (1 - q), 1e-6);
    EXPECT_EQ(dlogits[2], 0.0f);
    EXPECT_EQ(dlogits[3], 0.0f);
  }
}

}  // namespace
}  // namespace moehill
