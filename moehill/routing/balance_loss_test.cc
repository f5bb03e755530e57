// Compares auxiliary losses with values computed by hand and gradients with finite differences. Every split
// of the tokens gives equal bits.
#include "moehill/routing/balance_loss.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/routing/distribution.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

const BalanceLoss kBalance{.balance = 1}, kZ{.z = 1}, kSequence{.sequence = 1, .sequence_tokens = 6},
    kAll{.balance = 0.7, .sequence = 0.3, .z = 0.01, .sequence_tokens = 4};

Routing routing_of_logits(const std::vector<float>& logits, int experts, int topk) {
  return route_topk(logits, std::ssize(logits) / experts, experts, topk);
}

double value_of(const BalanceLoss& loss, const std::vector<float>& logits, const Routing& routing) {
  return balance_loss(loss, logits.data(), routing, {0, routing.num_tokens});
}

TEST(BalanceLoss, ByHand) {
  const std::vector<float> equal(12 * 4, 0.5f);
  const Routing routing = routing_of_logits(equal, 4, 2);  // every token chooses experts 0 and 1
  EXPECT_NEAR(value_of(kBalance, equal, routing), 1, 1e-12) << "equal scores";
  EXPECT_NEAR(value_of(kSequence, equal, routing), 1, 1e-12);
  EXPECT_NEAR(value_of(kZ, equal, routing), std::pow(0.5 + std::log(4), 2), 1e-12);
  std::vector<float> one(6 * 4, 0);
  for (size_t t = 0; t < 6; ++t) one[t * 4 + 2] = 1000;  // all of the score on the expert that all choose
  EXPECT_NEAR(value_of(kBalance, one, routing_of_logits(one, 4, 1)), 4, 1e-12) << "E is the worst";
  std::vector<float> turns(8 * 4, 0);
  for (size_t t = 0; t < 8; ++t) turns[t * 4 + t % 4] = 1000;
  EXPECT_NEAR(value_of(kBalance, turns, routing_of_logits(turns, 4, 1)), 1, 1e-12);
  BalanceLoss pairs{.sequence = 1, .sequence_tokens = 2};  // each sees two experts of four
  EXPECT_NEAR(value_of(pairs, turns, routing_of_logits(turns, 4, 1)), 2, 1e-12);
}

// Calls the function of a step. The tokens of each share are counted separately, and the counts are added in
// f32.
std::vector<float> gradient_of(const BalanceLoss& loss, const std::vector<float>& logits,
                               const Routing& routing, int num_shares, int num_threads) {
  std::vector<float> gradient(logits.size(), 0.25f);
  std::vector<float> counts(static_cast<size_t>(num_windows(loss, routing.num_tokens) * routing.num_experts)),
      sum(counts.size(), 0);
  for (int d = 0; d < num_shares; ++d) {
    count_choices(loss, routing, share(routing.num_tokens, d, num_shares), counts.data());
    for (size_t i = 0; i < sum.size(); ++i) sum[i] += counts[i];
  }
  ThreadTeam team(num_threads);
  for (int d = num_shares - 1; d >= 0; --d)
    add_balance_gradient({loss, logits.data(), routing, sum.data(), gradient.data()},
                         share(routing.num_tokens, d, num_shares), team);
  return gradient;
}

TEST(BalanceLoss, ValuesAreWithoutTheirFactorsAndTheSumWithThem) {
  const std::vector<float> equal(12 * 4, 0.5f);
  const auto values = loss_values(kAll, equal.data(), routing_of_logits(equal, 4, 2), {0, 12});
  ASSERT_EQ(values.size(), 4u);
  const double z = std::pow(0.5 + std::log(4), 2);
  EXPECT_EQ(values[0].first, "balance");
  EXPECT_NEAR(values[0].second, 1, 1e-12);
  EXPECT_EQ(values[1].first, "sequence");
  EXPECT_NEAR(values[1].second, 1, 1e-12);
  EXPECT_EQ(values[2].first, "z");
  EXPECT_NEAR(values[2].second, z, 1e-12);
  EXPECT_EQ(values[3].first, "sum");
  EXPECT_NEAR(values[3].second, 0.7 + 0.3 + 0.01 * z, 1e-12);
}

// Ranges begin and end inside of sequences, and must not read the logits of other tokens.
TEST(BalanceLoss, OfSomeTokensIsTheirPart) {
  const std::vector<float> logits = make_logits({}, 12, 7, 3, 4);
  const Routing routing = routing_of_logits(logits, 7, 3);
  const std::vector<double> whole = balance_gradient(kAll, logits.data(), routing, {0, 12});
  double sum = 0;
  for (const Range tokens : {Range{0, 3}, Range{3, 3}, Range{3, 10}, Range{10, 12}}) {
    std::vector<float> own(logits.size(), std::numeric_limits<float>::quiet_NaN());
    std::copy(logits.begin() + tokens.begin * 7, logits.begin() + tokens.end * 7,
              own.begin() + tokens.begin * 7);
    const std::vector<double> part = balance_gradient(kAll, own.data(), routing, tokens);
    const std::vector<double> rows(whole.begin() + tokens.begin * 7, whole.begin() + tokens.end * 7);
    EXPECT_EQ(part, rows);
    sum += balance_loss(kAll, own.data(), routing, tokens);
  }
  EXPECT_NEAR(sum, value_of(kAll, logits, routing), 1e-14);
}

TEST(BalanceLoss, GradientsAreThoseInDouble) {
  const std::vector<float> logits = make_logits({}, 12, 7, 3, 4);
  Routing routing = routing_of_logits(logits, 7, 3);
  routing.expert[5] = kNoExpert;
  for (const BalanceLoss& loss : {kBalance, kZ, kSequence, kAll}) {
    const std::vector<float> got = gradient_of(loss, logits, routing, 1, 1);
    const std::vector<double> expected =
        balance_gradient(loss, logits.data(), routing, {0, routing.num_tokens});
    for (size_t i = 0; i < got.size(); ++i) EXPECT_NEAR(got[i], 0.25 + expected[i], 1e-7) << i;
  }
}

TEST(BalanceLoss, GradientsAreThoseOfFiniteDifferences) {
  std::vector<float> logits = make_logits({}, 12, 7, 3, 4);
  Routing routing = routing_of_logits(logits, 7, 3);
  routing.expert[5] = kNoExpert;
  for (const BalanceLoss& loss : {kBalance, kZ, kSequence, kAll}) {
    const std::vector<double> gradient =
        balance_gradient(loss, logits.data(), routing, {0, routing.num_tokens});
    double largest = 0;
    for (const double g : gradient) largest = std::max(largest, std::abs(g));
    for (size_t i = 0; i < logits.size(); ++i) {
      const float before = logits[i], step = 1.0f / 256;
      logits[i] = before + step;
      const double above = value_of(loss, logits, routing), there = logits[i];
      logits[i] = before - step;
      const double below = value_of(loss, logits, routing), here = logits[i];
      logits[i] = before;
      EXPECT_NEAR(gradient[i], (above - below) / (there - here), 1e-4 * largest) << i;
    }
  }
}

TEST(BalanceLoss, GradientsDoNotDependOnTheSplit) {
  const std::vector<float> logits = make_logits({}, 24, 10, 4, 9);
  const Routing routing = routing_of_logits(logits, 10, 4);
  const std::vector<float> whole = gradient_of(kAll, logits, routing, 1, 1);
  for (const int devices : {2, 3, 4, 5, 7, 24})  // most of these cut sequences
    EXPECT_EQ(gradient_of(kAll, logits, routing, devices, 2), whole) << devices;
}

TEST(BalanceLoss, WordsThereAndBack) {
  EXPECT_EQ(parse_balance_loss(to_string(kAll)), kAll);
  EXPECT_EQ(parse_balance_loss(to_string(BalanceLoss{})), BalanceLoss{});
  for (const char* bad : {"", "aux=1", "balance", "balance=", "balance=x", "balance=nan", "balance=0",
                          "balance=-1", "balance=1,balance=1", "sequence=1", "sequence=1:0", "sequence=1:2:3",
                          "z=1:2", "z=1,", "balance=inf"})
    EXPECT_THROW(parse_balance_loss(bad), InputError) << bad;
}

TEST(UpdateBias, GoesTowardsTheMeanLoad) {
  std::vector<float> bias = {0, 0, 0.5f, 0};
  update_bias({4, 0, 2, 2}, 0.25, bias);
  EXPECT_EQ(bias, (std::vector<float>{-0.25f, 0.25f, 0.5f, 0}));
}

TEST(BalanceLoss, RefusesSequencesThatDoNotDivideTheTokens) {
  const std::vector<float> logits(10 * 4, 0);
  const Routing routing = routing_of_logits(logits, 4, 1);
  for (const int64_t tokens : {0, -1, 3, 11}) {
    const BalanceLoss loss{.sequence = 1, .sequence_tokens = tokens};
    EXPECT_THROW(value_of(loss, logits, routing), InputError) << tokens;
  }
}

}  // namespace
}  // namespace moehill
