// Tests top-k: the order, ties, bad logits and gate values.
#include "moehill/routing/topk_fixture.h"

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
  expect_refused(std::nanf(""), 9, "got nan for token 2, expert 1");
  expect_refused(std::nanf(""), 0, "token 0, expert 0");
  expect_refused(-std::nanf(""), 11, "got nan for token 2, expert 3");
  expect_refused(kInfinity, 6, "token 1, expert 2");
  try {
    route_topk({-kInfinity, -kInfinity}, 1, 2, 1);
    FAIL() << "nothing to choose from";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("token 0, expert 0"), std::string::npos) << error.what();
  }
}

TEST(RouteTopk, RefusesTopkOutOfRange) {
  for (const int topk : {-1, 0, 4}) EXPECT_THROW(route_topk({1, 2, 3}, 1, 3, topk), InputError) << topk;
}

}  // namespace
}  // namespace moehill
