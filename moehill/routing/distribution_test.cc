// Tests distributions: values depend only on (seed, index), moments are right, and runs have the promised
// lengths.
#include "moehill/routing/distribution.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"
#include "moehill/routing/statistics.h"
#include "moehill/routing/topk_fixture.h"

namespace moehill {
namespace {

DistributionOptions runs(double alpha = 0.98, double noise = 0.35) {
  return {Distribution::runs, alpha, noise};
}

TEST(RandomLogits, AreFunctionsOfSeedAndIndex) {
  const std::vector<float> logits = make_logits({}, 10, 6, 1, 7);
  ASSERT_EQ(logits.size(), 60u);
  for (size_t i = 0; i < 60; ++i) {
    EXPECT_EQ(logits[i], static_cast<float>(random_normal(7, Stream::kLogits, i)));
  }
  const std::vector<float> more = make_logits({}, 20, 6, 1, 7);
  EXPECT_TRUE(std::equal(logits.begin(), logits.end(), more.begin()));
  EXPECT_NE(logits, make_logits({}, 10, 6, 1, 8));
}

TEST(RandomLogits, AreStandardNormal) {
  const std::vector<float> logits = make_logits({}, 4000, 50, 1, 0);
  double sum = 0, squares = 0;
  for (const double x : logits) sum += x, squares += x * x;
  EXPECT_NEAR(sum / 200000, 0, 0.01);
  EXPECT_NEAR(squares / 200000, 1, 0.02);
}

TEST(RunLogits, NoiseAndSixOnOneExpertPerToken) {
  const std::vector<float> logits = make_logits(runs(), 2000, 10, 1, 3),
                           noise = make_logits({}, 2000, 10, 1, 3);
  for (size_t t = 0; t < 2000; ++t) {
    int num_preferred = 0;
    for (size_t e = 0; e < 10; ++e) {
      const float rest = logits[t * 10 + e] - 0.35f * noise[t * 10 + e];
      num_preferred += rest > 3;
      EXPECT_NEAR(rest, rest > 3 ? 6 : 0, 1e-5);
    }
    ASSERT_EQ(num_preferred, 1) << "token " << t;
  }
}

TEST(RunLogits, MeanRunAndBalanceAtTheDefault) {
  const int64_t num_tokens = 200000;
  const Routing routing = route_topk(make_logits(runs(), num_tokens, 60, 1, 0), num_tokens, 60, 1);
  const RunStatistics statistics = run_statistics(routing);
  EXPECT_NEAR(statistics.mean, 50, 4);   // about 4000 runs: a standard error of 0.8
  EXPECT_NEAR(statistics.p95, 149, 15);  // ln 0.05 / ln 0.98 = 148.3
  EXPECT_GT(statistics.max, 300);
  const std::vector<int64_t> load = expert_load(routing);
  EXPECT_LT(load_statistics(load).cv, 0.03);
  EXPECT_LT(max_over_mean(load), 1.1);
}

TEST(RunLogits, ShortRunsWithoutLocality) {
  const Routing routing = route_topk(make_logits(runs(0), 100000, 16, 1, 1), 100000, 16, 1);
  EXPECT_NEAR(run_statistics(routing).mean, 2, 0.1);  // p is at most 1 / 2
}

TEST(RunLogits, LongestMeanRunIsAHundred) {
  const Routing routing = route_topk(make_logits(runs(1), 200000, 60, 1, 1), 200000, 60, 1);
  // p is at least 0.01. Many experts: with few the last one is often still the least loaded, and two runs
  // become one.
  EXPECT_NEAR(run_statistics(routing).mean, 100, 8);
}

// No expert is drawn again before every expert has had a run: all others are less loaded.
TEST(RunLogits, FirstRunsVisitEveryExpert) {
  const int num_experts = 12;
  const Routing routing =
      route_topk(make_logits(runs(0.9, 0), 3000, num_experts, 1, 5), 3000, num_experts, 1);
  std::set<int32_t> seen;
  std::vector<int32_t> order;
  for (const int32_t expert : routing.expert) {
    if (order.empty() || order.back() != expert) order.push_back(expert);
  }
  for (int i = 0; i < num_experts; ++i) seen.insert(order[static_cast<size_t>(i)]);
  EXPECT_EQ(seen.size(), static_cast<size_t>(num_experts));
  EXPECT_FALSE(std::is_sorted(order.begin(), order.begin() + num_experts)) << "drawn, not counted through";
}

// Replays the runs: each expert is one of the least loaded, and not the one before if there is a choice.
TEST(RunLogits, ExpertsOfRunsFollowTheRule) {
  const int64_t num_tokens = 3000, num_experts = 3;
  const Routing routing =
      route_topk(make_logits(runs(0, 0), num_tokens, num_experts, 1, 2), num_tokens, num_experts, 1);
  std::vector<int64_t> load(num_experts, 0);
  int32_t previous = -1;
  int num_choices = 0;
  uint64_t run = 0;
  for (int64_t t = 0; t < num_tokens; ++run) {
    const int32_t expert = routing.expert[static_cast<size_t>(t)];
    const int64_t least = *std::min_element(load.begin(), load.end());
    ASSERT_EQ(load[static_cast<size_t>(expert)], least) << "run " << run;
    const bool previous_is_least = previous >= 0 && load[static_cast<size_t>(previous)] == least;
    if (previous_is_least && std::count(load.begin(), load.end(), least) > 1) {
      ASSERT_NE(expert, previous) << "run " << run;
      ++num_choices;
    }
    const double u = random_uniform(2, Stream::kRunLengths, run);  // P(length > n) = 2^-n
    const int64_t end = std::min(num_tokens, t + 1 + static_cast<int64_t>(std::floor(-std::log2(u))));
    for (; t < end; ++t) {
      ASSERT_EQ(routing.expert[static_cast<size_t>(t)], expert) << "token " << t;
      ++load[static_cast<size_t>(expert)];
    }
    previous = expert;
  }
  EXPECT_GT(num_choices, 50) << "the case hardly ever came up";
}

TEST(RunLogits, DependOnTheSeedAlone) {
  EXPECT_EQ(make_logits(runs(), 500, 8, 1, 1), make_logits(runs(), 500, 8, 1, 1));
  const Routing a = route_topk(make_logits(runs(0.98, 0), 500, 8, 1, 1), 500, 8, 1);
  EXPECT_NE(a.expert, route_topk(make_logits(runs(0.98, 0), 500, 8, 1, 2), 500, 8, 1).expert);
  const std::vector<float> few = make_logits(runs(), 300, 8, 1, 1), more = make_logits(runs(), 500, 8, 1, 1);
  EXPECT_TRUE(std::equal(few.begin(), few.end(), more.begin()))
      << "a longer batch goes on where a shorter ends";
}

TEST(RunLogits, OddShapes) {
  EXPECT_EQ(make_logits(runs(0.98, 0), 3, 1, 1, 0), std::vector<float>(3, 6));
  EXPECT_EQ(make_logits(runs(), 1, 9, 1, 0).size(), 9u);
  EXPECT_TRUE(make_logits(runs(), 0, 9, 1, 0).empty());
}

TEST(RunLogits, RefuseBadOptions) {
  for (const double alpha : {-0.1, 1.1, std::nan("")}) {
    EXPECT_THROW(make_logits(runs(alpha), 4, 2, 1, 0), InputError) << alpha;
  }
  for (const double noise : {-0.1, std::nan(""), HUGE_VAL}) {
    EXPECT_THROW(make_logits(runs(0.98, noise), 4, 2, 1, 0), InputError) << noise;
  }
}

}  // namespace
}  // namespace moehill
