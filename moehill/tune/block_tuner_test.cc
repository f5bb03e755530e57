// Tests of the rule for the winner, with planted timings: noise keeps the default, a real gain wins, and a
// wrong result never wins.
#include "moehill/tune/block_tuner.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <random>

#include "moehill/base/error.h"

namespace moehill {
namespace {

std::vector<BlockSizes> sets(size_t n) {
  std::vector<BlockSizes> all(n);
  for (size_t i = 1; i < n; ++i) all[i].bt = all[i].btc = static_cast<int64_t>(288 - i);
  return all;
}

// Makes a machine on which set i (numbered as in sets()) takes seconds[i] with a noise of a few percent.
MeasureBlocks machine(std::vector<double> seconds, uint32_t seed, double noise = 0.03) {
  return [=, random = std::mt19937(seed)](const std::vector<BlockSizes>& asked, int64_t rounds) mutable {
    std::normal_distribution<double> factor(1, noise);
    std::vector<std::vector<double>> samples(asked.size());
    for (int64_t r = 0; r < rounds; ++r) {
      for (size_t j = 0; j < asked.size(); ++j) {
        const size_t i = static_cast<size_t>(288 - asked[j].bt);
        if (seconds[i] > 0) samples[j].push_back(seconds[i] * factor(random));
      }
    }
    return samples;
  };
}

TEST(BlockTuner, NoiseLeavesTheDefault) {
  int others = 0;
  for (uint32_t seed = 0; seed < 40; ++seed) {
    if (tune(sets(10), {3, 4, 9, 10}, machine(std::vector<double>(10, 1.0), seed), 0).winner != 0) ++others;
  }
  EXPECT_LE(others, 4);  // 5 % of 40 are expected
}

TEST(BlockTuner, ARealGainWinsAndIsQuotedFromRoundsOfItsOwn) {
  int found = 0;
  for (uint32_t seed = 0; seed < 20; ++seed) {
    const TunerResult result = tune(sets(4), {3, 4, 9, 4}, machine({1.0, 1.3, 0.85, 1.0}, seed), 0);
    if (result.winner != 2) continue;
    ++found;
    EXPECT_EQ(result.gain.n, 9);
    EXPECT_NEAR(result.gain.ratio, 1 / 0.85, 0.1);
    EXPECT_EQ(result.candidates[2].fate, Fate::confirmed);
    EXPECT_EQ(fate_text(result.candidates[1]).rfind("dropped after ", 0), 0u)
        << fate_text(result.candidates[1]);
  }
  EXPECT_GE(found, 19);
}

TEST(BlockTuner, AWrongResultLeavesHoweverFastItIs) {
  const TunerResult result = tune(sets(3), {3, 3, 5, 3}, machine({1.0, 0, 1.0}, 1), 0);
  EXPECT_EQ(result.candidates[1].fate, Fate::check_failed);
  EXPECT_NE(result.winner, 1u);
}

TEST(BlockTuner, AWrongResultInTheLastPhaseDoesNotWin) {
  const MeasureBlocks right = machine({1.0, 0.5}, 1);
  int phase = 0;
  const MeasureBlocks measure = [&](const std::vector<BlockSizes>& some, int64_t rounds) {
    std::vector<std::vector<double>> samples = right(some, rounds);
    if (++phase == 3) samples[1].clear();
    return samples;
  };
  const TunerResult result = tune(sets(2), {3, 3, 5, 2}, measure, 0);
  EXPECT_EQ(phase, 3);
  EXPECT_EQ(result.winner, 0u);
  EXPECT_EQ(result.candidates[1].fate, Fate::check_failed);
}

TEST(BlockTuner, AWrongDefaultEndsIt) {
  const TunerResult result = tune(sets(2), {3, 3, 5, 2}, machine({0, 1.0}, 1), 0);
  EXPECT_EQ(result.candidates[0].fate, Fate::check_failed);
  EXPECT_EQ(result.winner, 0u);
}

// Sets that are all alike are never clearly behind.
TEST(BlockTuner, TheSecondRoundsKeepToTheirShareOfTheBudgetIfNoSetIsBehind) {
  for (const double steps : {73.0, 182.0, 1000.0}) {
    const TunerBudget budget = plan_budget(steps, 1, 13);
    std::vector<int64_t> taken;
    const MeasureBlocks alike = [&](const std::vector<BlockSizes>& some, int64_t rounds) {
      taken.push_back(static_cast<int64_t>(some.size()) * (kUntimedTrials + rounds));
      return std::vector<std::vector<double>>(some.size(),
                                              std::vector<double>(static_cast<size_t>(rounds), 1.0));
    };
    const TunerResult result = tune(sets(budget.num_candidates), budget, alike, 0);
    ASSERT_EQ(taken.size(), 2u) << "the default is as fast as any";
    EXPECT_LE(static_cast<double>(taken[0]), steps / 2) << steps;
    EXPECT_LE(static_cast<double>(taken[1]), steps / 4) << steps;
    EXPECT_EQ(result.candidates[0].fate, Fate::standard);
    const auto no_time = [](const TunedCandidate& c) { return c.fate == Fate::no_time; };
    EXPECT_EQ(std::count_if(result.candidates.begin(), result.candidates.end(), no_time),
              std::max<int64_t>(0, std::ssize(result.candidates) - static_cast<int64_t>(budget.num_second)));
  }
}

TEST(BlockTuner, TheSecondRoundsLeaveOutTheSlowestSets) {
  // None of these differs by more than 1 % from the best, so none is dropped.
  const TunerResult result =
      tune(sets(5), {3, 4, 9, 5, 3}, machine({1.0, 1.003, 0.998, 1.002, 0.996}, 1, 1e-9), 0);
  for (const size_t i : {0u, 2u, 4u}) EXPECT_EQ(result.candidates[i].samples.size(), 7u) << i;
  for (const size_t i : {1u, 3u}) {
    EXPECT_EQ(result.candidates[i].fate, Fate::no_time) << i;
    EXPECT_EQ(result.candidates[i].samples.size(), 3u) << i;
  }
}

TEST(TunerBudget, FitsTheTime) {
  for (const double step : {0.01, 0.1, 1.0}) {
    const TunerBudget b = plan_budget(120, step, 13);
    const double first =
        static_cast<double>(b.num_candidates) * static_cast<double>(kUntimedTrials + b.first);
    EXPECT_LE((first + static_cast<double>(2 * (kUntimedTrials + b.last))) * step, 120 * 1.01) << step;
    EXPECT_GE(b.last, 5);
  }
  EXPECT_EQ(plan_budget(60, 0.01, 13).num_candidates, 13u);
  for (const double none : {0.0, 1e-300}) {
    const TunerBudget most = plan_budget(60, none, 13), usual = plan_budget(60, 1e-6, 13);
    EXPECT_EQ(most.num_candidates, usual.num_candidates) << none;
    EXPECT_EQ(most.second, usual.second) << none;
    EXPECT_EQ(most.last, usual.last) << none;
  }
  EXPECT_THROW(plan_budget(60, 10, 13), InputError);
}

}  // namespace
}  // namespace moehill
