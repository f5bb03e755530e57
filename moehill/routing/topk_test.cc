// Top-k: order, ties, bad logits, gate values and their gradient.
#include "moehill/routing/topk.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <limits>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/routing/distribution.h"

namespace moehill {
namespace {

using Experts = std::vector<int32_t>;
constexpr float kInfinity = std::numeric_limits<float>::infinity();

TEST(RouteTopk, ByHand) {
  const Routing routing = route_topk({0, 2, 1, -1, /**/ 5, 3, 4, 4.5}, 2, 4, 2);
  EXPECT_EQ(routing.num_tokens, 2);
  EXPECT_EQ(routing.num_experts, 4);
  EXPECT_EQ(routing.topk, 2);
  EXPECT_EQ(routing.expert, (Experts{1, 2, 0, 3}));
  EXPECT_NEAR(routing.weight[0], 1 / (1 + std::exp(-1.0)), 1e-7);
  EXPECT_NEAR(routing.weight[1], 1 / (1 + std::exp(1.0)), 1e-7);
  EXPECT_NEAR(routing.weight[2], 1 / (1 + std::exp(-0.5)), 1e-7);
}

TEST(RouteTopk, TiesGoToTheLowerExpert) {
  EXPECT_EQ(route_topk({1, 1, 1, 1, 1}, 1, 5, 3).expert, (Experts{0, 1, 2}));
  EXPECT_EQ(route_topk({0, 3, 1, 3, 3, 1}, 1, 6, 4).expert, (Experts{1, 3, 4, 2}));
  EXPECT_EQ(route_topk({-0.0f, 0.0f}, 1, 2, 2).expert, (Experts{0, 1}));
}

TEST(RouteTopk, AgreesWithStableSort) {
  for (const int num_experts : {1, 2, 7, 60}) {
    std::vector<float> logits = make_logits({}, 50, num_experts, 1, 9);
    for (float& logit : logits) logit = std::round(logit * 4) / 4;  // many ties
    for (const int topk : {1, (num_experts + 1) / 2, num_experts}) {
      const Routing routing = route_topk(logits, 50, num_experts, topk);
      for (int64_t t = 0; t < 50; ++t) {
        const float* row = logits.data() + t * num_experts;
        Experts order(static_cast<size_t>(num_experts));
        std::iota(order.begin(), order.end(), 0);
        std::stable_sort(order.begin(), order.end(), [&](int32_t a, int32_t b) { return row[a] > row[b]; });
        const Experts chosen(routing.expert.begin() + t * topk, routing.expert.begin() + (t + 1) * topk);
        order.resize(static_cast<size_t>(topk));
        ASSERT_EQ(chosen, order) << "token " << t << ", " << num_experts << " experts, top " << topk;
        const auto weight = routing.weight.begin() + t * topk;
        EXPECT_NEAR(std::accumulate(weight, weight + topk, 0.0), 1, 1e-6);
      }
    }
  }
}

TEST(RouteTopk, LargeLogitsDoNotOverflow) {
  const Routing routing = route_topk({3e38f, 3e38f, -3e38f}, 1, 3, 3);
  EXPECT_EQ(routing.weight, (std::vector<float>{0.5f, 0.5f, 0}));
}

TEST(RouteTopk, MinusInfinityExcludes) {
  const Routing routing = route_topk({-kInfinity, 1, -kInfinity}, 1, 3, 2);
  EXPECT_EQ(routing.expert, (Experts{1, 0}));
  EXPECT_EQ(routing.weight, (std::vector<float>{1, 0}));
}

void expect_refused(float bad, size_t at, const std::string& words) {
  std::vector<float> logits(12, 0.5f);
  logits[at] = bad;
  try {
    route_topk(logits, 3, 4, 1);
    FAIL() << bad << " accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find(words), std::string::npos) << error.what();
  }
}

TEST(RouteTopk, NamesTokenAndExpertOfABadLogit) {
  expect_refused(std::nanf(""), 9, "token 2, expert 1");
  expect_refused(std::nanf(""), 0, "token 0, expert 0");
  expect_refused(-std::nanf(""), 11, "token 2, expert 3");
  expect_refused(kInfinity, 6, "token 1, expert 2");
  EXPECT_THROW(route_topk({-kInfinity, -kInfinity}, 1, 2, 1), InputError);
}

TEST(RouteTopk, RefusesTopkOutOfRange) {
  for (const int topk : {-1, 0, 4}) EXPECT_THROW(route_topk({1, 2, 3}, 1, 3, topk), InputError) << topk;
}

// Against central differences of sum_j dp_j p_j in double.
TEST(RouteTopkBackward, IsTheGradientOfTheGateValues) {
  constexpr int kTokens = 5, kExperts = 7, kTopk = 3;
  const std::vector<float> logits = make_logits({}, kTokens, kExperts, kTopk, 4);
  const std::vector<float> dp = make_logits({}, kTokens, kTopk, 1, 5);
  const Routing routing = route_topk(logits, kTokens, kExperts, kTopk);
  const auto loss = [&](size_t moved, double step) {
    double total = 0;
    for (size_t t = 0; t < kTokens; ++t) {
      double sum = 0, weighted = 0;
      for (size_t j = t * kTopk; j < (t + 1) * kTopk; ++j) {
        const size_t at = t * kExperts + static_cast<size_t>(routing.expert[j]);
        const double p = std::exp(logits[at] + (at == moved ? step : 0));
        sum += p;
        weighted += p * dp[j];
      }
      total += weighted / sum;
    }
    return total;
  };
  for (const int num_threads : {1, 3}) {
    ThreadTeam team(num_threads);
    std::vector<float> dlogits(kTokens * kExperts, std::nanf(""));  // every element is to be written
    route_topk_backward(routing, {0, kTokens}, dp.data(), dlogits.data(), team);
    for (size_t i = 0; i < dlogits.size(); ++i) {
      EXPECT_NEAR(dlogits[i], (loss(i, 1e-5) - loss(i, -1e-5)) / 2e-5, 1e-6) << "logit " << i;
    }
  }
}

TEST(RouteSoftmaxTopk, TakesTheSoftmaxOverAllExperts) {
  constexpr int kTokens = 9, kExperts = 7, kTopk = 3;
  const std::vector<float> logits = make_logits({}, kTokens, kExperts, kTopk, 4);
  const Routing over_chosen = route_topk(logits, kTokens, kExperts, kTopk);
  for (const int num_threads : {1, 2}) {
    ThreadTeam team(num_threads);
    Routing all = over_chosen, renormalized = over_chosen;
    for (Routing* routing : {&all, &renormalized}) {
      std::fill(routing->expert.begin(), routing->expert.end(), -1);
      std::fill(routing->weight.begin(), routing->weight.end(), std::nanf(""));
    }
    route_softmax_topk(logits.data(), {0, kTokens}, false, team, all);
    route_softmax_topk(logits.data(), {0, kTokens}, true, team, renormalized);
    EXPECT_EQ(all.expert, over_chosen.expert);
    EXPECT_EQ(renormalized.expert, over_chosen.expert);
    for (size_t i = 0; i < all.weight.size(); ++i) {
      const size_t t = i / kTopk;
      double sum = 0;
      for (size_t e = 0; e < kExperts; ++e) sum += std::exp(logits[t * kExperts + e]);
      EXPECT_NEAR(all.weight[i], std::exp(logits[t * kExperts + static_cast<size_t>(all.expert[i])]) / sum,
                  1e-6);
      EXPECT_NEAR(renormalized.weight[i], over_chosen.weight[i], 1e-6);
    }
  }
}

TEST(RouteSoftmaxTopk, RoutesTheTokensAskedForAlone) {
  const std::vector<float> logits = make_logits({}, 6, 4, 2, 4);
  Routing routing = route_topk(logits, 6, 4, 2);
  std::fill(routing.expert.begin(), routing.expert.end(), -1);
  ThreadTeam team(1);
  route_softmax_topk(logits.data(), {2, 4}, false, team, routing);
  for (size_t i = 0; i < routing.expert.size(); ++i) EXPECT_EQ(routing.expert[i] < 0, i / 2 < 2 || i / 2 > 3);
}

}  // namespace
}  // namespace moehill
