// Auxiliary losses: values by hand, gradients against finite differences, and the same bits for any split.
#include "moehill/routing/balance_loss.h"

#include <gtest/gtest.h>

#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/topk.h"

namespace moehill {
namespace {

const BalanceLoss kBalance{.balance = 1}, kZ{.z = 1}, kSequence{.sequence = 1, .sequence_tokens = 6},
    kAll{.balance = 0.7, .sequence = 0.3, .z = 0.01, .sequence_tokens = 4};

Routing routing_of_logits(const std::vector<float>& logits, int experts, int topk) {
  return route_topk(logits, std::ssize(logits) / experts, experts, topk);
}

TEST(BalanceLoss, ByHand) {
  const std::vector<float> equal(12 * 4, 0.5f);
  const Routing routing = routing_of_logits(equal, 4, 2);  // everybody chooses experts 0 and 1
  EXPECT_NEAR(balance_loss(kBalance, equal.data(), routing), 1, 1e-12) << "equal scores";
  EXPECT_NEAR(balance_loss(kSequence, equal.data(), routing), 1, 1e-12);
  EXPECT_NEAR(balance_loss(kZ, equal.data(), routing), std::pow(0.5 + std::log(4), 2), 1e-12);
  std::vector<float> one(6 * 4, 0);
  for (size_t t = 0; t < 6; ++t) one[t * 4 + 2] = 1000;  // all of the score on the expert that all choose
  EXPECT_NEAR(balance_loss(kBalance, one.data(), routing_of_logits(one, 4, 1)), 4, 1e-12) << "E is the worst";
  std::vector<float> turns(8 * 4, 0);
  for (size_t t = 0; t < 8; ++t) turns[t * 4 + t % 4] = 1000;
  EXPECT_NEAR(balance_loss(kBalance, turns.data(), routing_of_logits(turns, 4, 1)), 1, 1e-12);
  BalanceLoss pairs{.sequence = 1, .sequence_tokens = 2};  // each sees two experts of four
  EXPECT_NEAR(balance_loss(pairs, turns.data(), routing_of_logits(turns, 4, 1)), 2, 1e-12);
}

TEST(BalanceLoss, GradientsAreThoseOfFiniteDifferences) {
  std::vector<float> logits = make_logits({}, 12, 7, 3, 4);
  Routing routing = routing_of_logits(logits, 7, 3);
  routing.expert[5] = kNoExpert;
  for (const BalanceLoss& loss : {kBalance, kZ, kSequence, kAll}) {
    std::vector<float> gradient(logits.size(), 0);
    add_balance_gradient(loss, logits.data(), routing, {0, 12}, gradient.data());
    double largest = 0;
    for (const float g : gradient) largest = std::max(largest, std::abs(static_cast<double>(g)));
    for (size_t i = 0; i < logits.size(); ++i) {
      const float before = logits[i], step = 1.0f / 256;
      logits[i] = before + step;
      const double above = balance_loss(loss, logits.data(), routing), there = logits[i];
      logits[i] = before - step;
      const double below = balance_loss(loss, logits.data(), routing), here = logits[i];
      logits[i] = before;
      EXPECT_NEAR(gradient[i], (above - below) / (there - here), 1e-4 * largest) << i;
    }
  }
}

TEST(BalanceLoss, GradientsDoNotDependOnTheSplit) {
  const std::vector<float> logits = make_logits({}, 24, 10, 4, 9);
  const Routing routing = routing_of_logits(logits, 10, 4);
  std::vector<float> whole(logits.size(), 0.25f);
  add_balance_gradient(kAll, logits.data(), routing, {0, 24}, whole.data());
  for (const int devices : {2, 3, 4, 5, 7, 24}) {  // most cut sequences
    std::vector<float> parts(logits.size(), 0.25f);
    for (int d = devices - 1; d >= 0; --d)
      add_balance_gradient(kAll, logits.data(), routing, share(24, d, devices), parts.data());
    EXPECT_EQ(parts, whole) << devices;
  }
}

TEST(BalanceLoss, RefusesSequencesThatDoNotDivideTheTokens) {
  const std::vector<float> logits(10 * 4, 0);
  const Routing routing = routing_of_logits(logits, 4, 1);
  for (const int64_t tokens : {0, -1, 3, 11}) {
    const BalanceLoss loss{.sequence = 1, .sequence_tokens = tokens};
    EXPECT_THROW(balance_loss(loss, logits.data(), routing), InputError) << tokens;
  }
}

}  // namespace
}  // namespace moehill
