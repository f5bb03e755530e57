#include "moehill/bench/comparison.h"

#include <gtest/gtest.h>

#include <cmath>
#include <random>

namespace moehill {
namespace {

// Samples of a point as a shared machine gives them: a drift common to both series of a round, 1 % of
// log-normal noise of each sample, and in one of ten a disturbance of up to 30 %.
class Machine {
 public:
  explicit Machine(uint32_t seed) : random_(seed) {}
  void round(double slower, Series& a, Series& b) {
    drift_ += 0.02 * normal_(random_);
    const int64_t index = static_cast<int64_t>(a.rounds.size());
    a.rounds.push_back(index);
    b.rounds.push_back(index);
    a.costs.push_back(sample());
    b.costs.push_back(sample() * slower);
  }

 private:
  double sample() {
    const double disturbance = uniform_(random_) < 0.1 ? 0.3 * uniform_(random_) : 0.0;
    return std::exp(drift_ + 0.01 * normal_(random_) + disturbance);
  }
  std::mt19937 random_;
  std::normal_distribution<double> normal_;
  std::uniform_real_distribution<double> uniform_;
  double drift_ = 0;
};

double floor_of_machine() {
  Machine machine(999);
  Series a, b;
  for (int round = 0; round < 60; ++round) machine.round(1.0, a, b);
  return noise_floor(a.costs, b.costs, 5, 1);
}

Verdict verdict_of(uint32_t seed, int64_t rounds, double slower, std::optional<double> floor) {
  Machine machine(seed);
  Series a, b;
  for (int64_t round = 0; round < rounds; ++round) machine.round(slower, a, b);
  return judge(compare_speed(a, b, true, 0).ratio, floor);
}

int count_different(int64_t rounds, double slower, int times, std::optional<double> floor) {
  int different = 0;
  for (int i = 0; i < times; ++i) {
    const Verdict verdict = verdict_of(static_cast<uint32_t>(1000 + i), rounds, slower, floor);
    different += verdict == Verdict::slower || (slower == 1.0 && verdict == Verdict::faster) ? 1 : 0;
  }
  return different;
}

// At any number of rounds that a sweep may have, with the floor known and without.
TEST(Comparison, EqualThingsAreRarelyCalledDifferent) {
  const double floor = floor_of_machine();
  for (const int64_t rounds : {2, 3, 5, 6, 7, 10, 20}) {
    EXPECT_LE(count_different(rounds, 1.0, 100, floor), 5) << rounds << " rounds";
    EXPECT_LE(count_different(rounds, 1.0, 100, std::nullopt), 5) << rounds << " rounds, no floor";
  }
}

// The cost of seeing 5 %: 15 rounds on such a machine, two steps a round.
TEST(Comparison, FivePercentAreFoundInFifteenRounds) {
  const double floor = floor_of_machine();
  EXPECT_GE(count_different(15, 1.05, 20, floor), 19);
  EXPECT_LT(count_different(5, 1.05, 20, floor), 19);  // else this test would hold for anything
}

TEST(Comparison, VerdictsByIntervalAndFloor) {
  const auto ratio = [](double lo, double middle, double hi) { return Ratio{middle, lo, hi, 9}; };
  EXPECT_EQ(judge(ratio(0.995, 1.0, 1.005), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.003, 1.01, 1.018), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.003, 1.01, 1.2), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(0.95, 1.0, 1.05), 0.02), Verdict::inconclusive);
  EXPECT_EQ(judge(ratio(1.03, 1.05, 1.07), 0.02), Verdict::faster);
  EXPECT_EQ(judge(ratio(0.93, 0.95, 0.97), 0.02), Verdict::slower);
  EXPECT_EQ(judge(Ratio{1.5, 1.5, 1.5, 2}, 0.02), Verdict::inconclusive);
  EXPECT_EQ(judge(ratio(1.03, 1.05, 1.07), std::nullopt), Verdict::faster);
}

TEST(Comparison, PairsByRoundAndTakesOutTheDrift) {
  Series a, b;
  for (int64_t round = 0; round < 8; ++round) {
    a.rounds.push_back(round);
    a.costs.push_back(std::pow(2.0, round) * (round % 2 == 0 ? 1.001 : 1.0));
    if (round == 3) continue;  // b has no such round
    b.rounds.push_back(round);
    b.costs.push_back(std::pow(2.0, round) * 1.1);
  }
  const SpeedComparison paired = compare_speed(a, b, true, 0);
  EXPECT_TRUE(paired.paired);
  EXPECT_EQ(paired.ratio.n, 7);
  EXPECT_NEAR(paired.ratio.ratio, 1 / 1.1, 1e-3);
  EXPECT_EQ(judge(paired.ratio, 0.01), Verdict::slower);
  const SpeedComparison apart = compare_speed(a, b, false, 0);
  EXPECT_FALSE(apart.paired);
  EXPECT_LT(apart.ratio.ci_lo, 0.5);
  EXPECT_EQ(judge(apart.ratio, 0.01), Verdict::inconclusive);
}

TEST(Comparison, RoundsInCommonWithNobodyAreNotPaired) {
  const SpeedComparison comparison = compare_speed({{0, 1, 2}, {1, 1, 1}}, {{3, 4}, {2, 2}}, true, 0);
  EXPECT_FALSE(comparison.paired);
  EXPECT_NEAR(comparison.ratio.ratio, 0.5, 1e-12);
  EXPECT_EQ(comparison.ratio.n, 2);
}

TEST(Comparison, NoiseFloorShrinksWithRoundsAndIsReproducible) {
  Machine machine(5);
  Series a, b;
  for (int round = 0; round < 40; ++round) machine.round(1.0, a, b);
  const double of_three = noise_floor(a.costs, b.costs, 3, 1);
  EXPECT_EQ(noise_floor(a.costs, b.costs, 3, 1), of_three);
  EXPECT_LT(noise_floor(a.costs, b.costs, 25, 1), of_three);
  EXPECT_GT(of_three, 0);
}

TEST(Comparison, ChangeAsText) {
  EXPECT_EQ(change_text({1.031, 1.02, 1.042, 9}), "+3.1 % [+2.0, +4.2]");
  EXPECT_EQ(change_text({0.5, 0.5, 0.5, 1}), "-50.0 %");
}

}  // namespace
}  // namespace moehill
