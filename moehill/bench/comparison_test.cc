// Tests of comparisons on made-up machines with known noise: how often equal things are called different, and
// how small a difference is found.
#include "moehill/bench/comparison.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <random>

#include "moehill/base/rng.h"

namespace moehill {
namespace {

// Machine makes the samples that a shared machine would give: a drift that both series of a round share, 1 %
// of log-normal noise in each sample, and in one sample of ten a disturbance of up to 30 %.
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
  return judge(compare_speed(a, b, 0), floor);
}

int count_different(int64_t rounds, double slower, int times, std::optional<double> floor) {
  int different = 0;
  for (int i = 0; i < times; ++i) {
    const Verdict verdict = verdict_of(static_cast<uint32_t>(1000 + i), rounds, slower, floor);
    different += verdict == Verdict::slower || (slower == 1.0 && verdict == Verdict::faster) ? 1 : 0;
  }
  return different;
}

// This holds at any number of rounds that a sweep may have, with the floor known and without.
TEST(Comparison, EqualThingsAreRarelyCalledDifferent) {
  const double floor = floor_of_machine();
  for (const int64_t rounds : {3, 5, 6, 7, 10, 20}) {
    EXPECT_LE(count_different(rounds, 1.0, 100, floor), 5) << rounds << " rounds";
    EXPECT_LE(count_different(rounds, 1.0, 100, std::nullopt), 5) << rounds << " rounds, no floor";
  }
}

// To notice 5 % on such a machine takes 15 rounds with two steps in a round.
TEST(Comparison, FivePercentAreFoundInFifteenRounds) {
  const double floor = floor_of_machine();
  EXPECT_GE(count_different(15, 1.05, 20, floor), 19);
  EXPECT_LT(count_different(5, 1.05, 20, floor), 19);  // else this test would hold for anything
}

TEST(Comparison, VerdictsByIntervalAndFloor) {
  const auto ratio = [](double lo, double middle, double hi) {
    return Ratio{middle, 9, Interval{lo, hi, 0.95}};
  };
  EXPECT_EQ(judge(ratio(0.995, 1.0, 1.005), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.003, 1.01, 1.018), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.003, 1.01, 1.2), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.012, 1.015, 1.018), 0.02), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.012, 1.015, 1.018), std::nullopt), Verdict::faster);
  EXPECT_EQ(judge(ratio(0.95, 1.0, 1.05), 0.02), Verdict::inconclusive);
  EXPECT_EQ(judge(ratio(1.03, 1.05, 1.07), 0.02), Verdict::faster);
  EXPECT_EQ(judge(ratio(0.93, 0.95, 0.97), 0.02), Verdict::slower);
  EXPECT_EQ(judge(Ratio{1.5, 2, {}}, 0.02), Verdict::cannot_tell);
  EXPECT_EQ(judge(ratio(1.03, 1.05, 1.07), std::nullopt), Verdict::faster);
}

TEST(Comparison, AnEndOfTheIntervalBelongsToIt) {
  const auto ratio = [](double lo, double middle, double hi) {
    return Ratio{middle, 9, Interval{lo, hi, 0.95}};
  };
  // The compiler does not know these, so all logarithms are those of the library.
  const double low = std::stod("0.98"), high = std::stod("1.02");
  EXPECT_EQ(judge(ratio(low, 1.0, 1.01), -std::log(low)), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(0.99, 1.0, high), std::log(high)), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1.01, high, 1.03), std::log(high)), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(1, 1.05, 1.2), 0.01), Verdict::inconclusive);
  EXPECT_EQ(judge(ratio(0.8, 0.95, 1), 0.01), Verdict::inconclusive);
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
  const Ratio paired = compare_speed(a, b, 0);
  EXPECT_TRUE(paired.paired);
  EXPECT_EQ(paired.n, 7);
  EXPECT_NEAR(paired.ratio, 1 / 1.1, 1e-3);
  EXPECT_EQ(judge(paired, 0.01), Verdict::slower);
}

TEST(Comparison, RoundsInCommonWithNobodyAreComparedAsProcesses) {
  const Ratio ratio = compare_speed({{0, 1, 2}, {1, 1, 1}}, {{3, 4}, {2, 2}}, 0);
  EXPECT_FALSE(ratio.paired);
  EXPECT_NEAR(ratio.ratio, 0.5, 1e-12);
  EXPECT_EQ(ratio.n, 2);
  EXPECT_EQ(verdict_words(ratio, std::nullopt), "cannot tell: 2 processes, at least 5 needed");
}

// A round that one host began and another ended is no round: the ratio would be that of the hosts.
TEST(Comparison, ARoundOfTwoHostsIsNoPair) {
  const Series a{{0, 1, 2, 3}, {1, 1, 1, 1}, {"one", "one", "two", ""}};
  const Series b{{0, 1, 2, 3}, {1, 5, 1, 1}, {"one", "two", "two", "two"}};
  const Ratio ratio = compare_speed(a, b, 0);
  EXPECT_TRUE(ratio.paired);
  EXPECT_EQ(ratio.n, 3);
  EXPECT_EQ(ratio.ratio, 1);
  const Series elsewhere{{0, 1, 2, 3, 4, 5}, {5, 5, 5, 5, 5, 5}, {"two", "two", "two", "two", "two", "two"}};
  const Series here{elsewhere.rounds, {1, 1, 1, 1, 1, 1}, {"one", "one", "one", "one", "one", "one"}};
  const Ratio none = compare_speed(here, elsewhere, 0);
  EXPECT_EQ(none.n, 0);
  EXPECT_FALSE(none.interval.has_value());
  EXPECT_EQ(verdict_words(none, 0.01), "cannot tell: 0 rounds, at least 3 needed");
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

// The definition, with the draws in their order.
TEST(Comparison, NoiseFloorIsThe95thPercentileOfDrawnMedians) {
  std::vector<double> a, b, logs, sizes;
  for (uint64_t i = 0; i < 20; ++i) {
    a.push_back(1 + 0.05 * random_normal(1, Stream::kX, i));
    b.push_back(1 + 0.05 * random_normal(2, Stream::kX, i));
    logs.push_back(std::log(a.back() / b.back()));
  }
  uint64_t draw = 0;
  for (int i = 0; i < kNumResamples; ++i) {
    std::vector<double> drawn;
    for (int j = 0; j < 5; ++j)
      drawn.push_back(logs[static_cast<size_t>(20 * random_uniform(7, Stream::kBootstrap, draw++))]);
    sizes.push_back(std::abs(median_of(drawn)));
  }
  std::sort(sizes.begin(), sizes.end());
  EXPECT_DOUBLE_EQ(noise_floor(a, b, 5, 7), sizes[1900]);
}

TEST(Comparison, ChangeAsText) {
  EXPECT_EQ(change_text({1.031, 9, Interval{1.02, 1.042, 0.95}}), "+3.1 % [95 %: +2.0..+4.2]");
  EXPECT_EQ(change_text({0.5, 1, {}}), "-50.0 %");
  EXPECT_EQ(verdict_words({0.5, 1, {}}, std::nullopt), "cannot tell: 1 round, at least 3 needed");
}

// Sample 0 was disturbed in one series and sample 4 in the other: the medians are 1.02 and 1.01, but most
// ratios are below 1.
TEST(Comparison, SaysWhereTheMediansOrderTheOtherWay) {
  const std::vector<double> a = {1.00, 1.01, 1.02, 1.03, 1.04}, b = {1.005, 1.015, 1.01, 1.035, 1.00};
  const Ratio ratio = speed_ratio(a, b, 0);
  EXPECT_LT(ratio.ratio, 1);
  EXPECT_GT(median_of(a), median_of(b));
  EXPECT_EQ(disagreement_text(ratio, median_of(a), median_of(b)), "; the medians order the other way");
  EXPECT_EQ(disagreement_text(ratio, 1.01, 1.02), "");
  for (const double of_ratio : {0.5, 2.0})
    EXPECT_EQ(disagreement_text({of_ratio, 5, {}}, 1.01, 1.01), "") << "equal medians";
}

// Log-costs of `n` processes in the order in which they ran.
using Sequence = std::vector<double> (*)(size_t n, std::mt19937& random);

double normal(std::mt19937& random) { return std::normal_distribution<double>()(random); }
double uniform(std::mt19937& random) { return std::uniform_real_distribution<double>()(random); }

template <typename Draw>
std::vector<double> draw(size_t n, Draw one) {
  std::vector<double> values(n);
  for (double& value : values) value = one();
  return values;
}

std::vector<double> spread(size_t n, std::mt19937& random) {
  return draw(n, [&] { return 0.03 * normal(random); });
}
std::vector<double> heavy_tails(size_t n, std::mt19937& random) {  // Student's t with one degree of freedom
  return draw(n, [&] { return 0.01 * normal(random) / std::abs(normal(random)); });
}
std::vector<double> disturbed(size_t n, std::mt19937& random) {
  return draw(n, [&] { return 0.01 * normal(random) + (uniform(random) < 0.1 ? 0.3 * uniform(random) : 0); });
}
std::vector<double> two_placements(size_t n, std::mt19937& random) {
  return draw(n, [&] { return 0.005 * normal(random) + (uniform(random) < 0.3 ? 0.06 : 0); });
}
// The machine has states that last ten processes on average, as the neighbours of a virtual machine make
// them.
std::vector<double> states(size_t n, std::mt19937& random) {
  double state = 0;
  bool first = true;
  return draw(n, [&] {
    if (first || uniform(random) < 0.1) state = uniform(random) < 0.5 ? 0 : 0.08 * uniform(random);
    first = false;
    return state + 0.015 * normal(random);
  });
}
std::vector<double> drift(size_t n, std::mt19937& random) {
  double walked = 0;
  return draw(n, [&] { return (walked += 0.01 * normal(random)) + 0.01 * normal(random); });
}

// Returns how many of 1000 equal pairs are called different, in percent, for sides that took turns or that
// followed each other.
double percent_different(Sequence sequence, size_t of_a, size_t of_b, bool in_turn, double slower = 1) {
  std::mt19937 random(17);
  int different = 0;
  for (int trial = 0; trial < 1000; ++trial) {
    const std::vector<double> logs = sequence(of_a + of_b, random);
    std::vector<ProcessCost> a, b;
    for (size_t i = 0; i < logs.size(); ++i) {
      const bool first_side = in_turn ? (i % 2 == 0 && a.size() < of_a) || b.size() == of_b : i < of_a;
      (first_side ? a : b).push_back({std::exp(logs[i]) * (first_side ? 1 : slower), static_cast<double>(i)});
    }
    const Verdict verdict = judge(compare_processes(a, b));
    different += verdict == Verdict::slower || (slower == 1 && verdict == Verdict::faster) ? 1 : 0;
  }
  return different / 10.0;
}

TEST(Processes, EqualThingsAreRarelyCalledDifferent) {
  const std::pair<const char*, Sequence> machines[] = {
      {"spread", spread},       {"heavy tails", heavy_tails},
      {"disturbed", disturbed}, {"two placements", two_placements},
      {"states", states},       {"drift", drift}};
  for (const auto& [name, machine] : machines) {
    for (const bool in_turn : {false, true}) {
      EXPECT_LE(percent_different(machine, 5, 5, in_turn), 5) << name << in_turn;
      EXPECT_LE(percent_different(machine, 8, 8, in_turn), 5) << name << in_turn;
      EXPECT_LE(percent_different(machine, 5, 12, in_turn), 5) << name << in_turn;
    }
  }
}

TEST(Processes, WhatIsSlowerIsFound) {
  EXPECT_GE(percent_different(spread, 5, 5, true, 1.12), 95);
  EXPECT_GE(percent_different(spread, 5, 5, false, 1.25), 95);
  EXPECT_EQ(percent_different(states, 5, 5, false, 10), 100);
}

// The process of a came first in 13 of the 25 pairs, so s = |26 / 25 - 1|. The variances are equal, so there
// are 8 degrees of freedom.
TEST(Processes, TheIntervalIsThatOfWelchAndOfTheOrderInTime) {
  const double logs[] = {3, 3.01, 3.02, 3, 3.01}, of_a[] = {0, 3, 4, 7, 8}, of_b[] = {1, 2, 5, 6, 9};
  std::vector<ProcessCost> a, b;
  double mean = 0, variance = 0;
  for (size_t i = 0; i < 5; ++i) {
    a.push_back({std::exp(logs[i]), of_a[i]});
    b.push_back({std::exp(logs[i] + 0.5), of_b[i]});
    mean += logs[i] / 5;
  }
  for (const double log : logs) variance += (log - mean) * (log - mean) / 4;
  const double half = student_quantile(8) * std::sqrt(2 * variance / 5 + 0.04 * 2 * variance);
  const Ratio ratio = compare_processes(a, b);
  EXPECT_NEAR(std::log(ratio.ratio), -0.5, 1e-12);
  EXPECT_NEAR(std::log(ratio.interval->lo), -0.5 - half, 1e-9);
  EXPECT_NEAR(std::log(ratio.interval->hi), -0.5 + half, 1e-9);
}

TEST(Processes, OfOneCostHaveAnIntervalOfOneNumber) {
  const std::vector<ProcessCost> same(5, {1.0, std::nullopt});
  const Ratio ratio = compare_processes(same, same);
  ASSERT_TRUE(ratio.interval);
  EXPECT_EQ(ratio.interval->lo, 1);
  EXPECT_EQ(ratio.interval->hi, 1);
}

TEST(Processes, FewerThanFiveSayNothing) {
  const std::vector<ProcessCost> a = {{1.0, 1}, {1.01, 2}, {1.0, 3}, {1.02, 4}}, b(9, {10.0, 5});
  const Ratio ratio = compare_processes(a, b);
  EXPECT_LT(ratio.ratio, 0.2);
  EXPECT_FALSE(ratio.interval);
  EXPECT_EQ(verdict_words(ratio, 0.01), "cannot tell: 4 processes, at least 5 needed");
}

// One side has five processes in a row, then the other has five. Each side thus meets only one state of the
// machine.
TEST(Processes, OneAfterTheOtherIsWorthLessThanInTurn) {
  std::vector<ProcessCost> a, b, a_unknown;
  for (int i = 0; i < 5; ++i) {
    const double wobble = 1 + 0.01 * (i % 3);
    a.push_back({wobble, 2.0 * i});
    b.push_back({wobble, 2.0 * i + (i % 2 == 0 ? 1 : -1)});
    a_unknown.push_back({wobble, std::nullopt});
  }
  std::vector<ProcessCost> later = b;
  for (ProcessCost& process : later) *process.started_s += 100;
  const auto width = [](const Ratio& ratio) { return ratio.interval->hi - ratio.interval->lo; };
  const double in_turn = width(compare_processes(a, b)), apart = width(compare_processes(a, later));
  EXPECT_GT(apart, 2 * in_turn);
  EXPECT_NEAR(width(compare_processes(later, a)), apart, 1e-9);
  EXPECT_NEAR(width(compare_processes(a_unknown, b)), apart, 1e-9);
}

}  // namespace
}  // namespace moehill
