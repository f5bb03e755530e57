// Tests of the statistics on made-up samples whose medians, intervals and verdicts are known.
#include "moehill/bench/statistics.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/rng.h"

namespace moehill {
namespace {

std::vector<double> one_to(int n) {
  std::vector<double> values(n);
  std::iota(values.begin(), values.end(), 1.0);
  return values;
}

TEST(Summary, MedianOfOddAndEven) {
  EXPECT_EQ(median_of({3, 1, 2}), 2);
  EXPECT_EQ(median_of({4, 1, 2, 3}), 2.5);
  EXPECT_EQ(median_of({7}), 7);
}

TEST(Summary, FewSamplesGiveTheRangeAndItsWorth) {
  const Summary summary = summarize(one_to(5));
  EXPECT_EQ(summary.n, 5);
  EXPECT_EQ(summary.median, 3);
  EXPECT_EQ(summary.min, 1);
  EXPECT_EQ(summary.max, 5);
  EXPECT_EQ(summary.interval->lo, 1);
  EXPECT_EQ(summary.interval->hi, 5);
  EXPECT_NEAR(summary.interval->coverage, 0.9375, 1e-12);
  EXPECT_NEAR(summarize(one_to(3)).interval->coverage, 0.75, 1e-12);
}

TEST(Summary, BelowThreeSamplesThereIsNoInterval) {
  for (const int n : {1, 2}) {
    EXPECT_FALSE(summarize(one_to(n)).interval) << n;
    EXPECT_EQ(summarize(one_to(n)).max, n);
  }
}

// Tables of the sign test: n = 6 keeps (1, 6), n = 9 (2, 8), n = 25 (8, 18), n = 100 (40, 61).
TEST(Summary, OrderStatisticsOfTheTables) {
  const struct {
    int n;
    double lo, hi;
  } rows[] = {{6, 1, 6}, {9, 2, 8}, {25, 8, 18}, {100, 40, 61}};
  for (const auto& row : rows) {
    const Summary summary = summarize(one_to(row.n));
    EXPECT_EQ(summary.interval->lo, row.lo) << row.n;
    EXPECT_EQ(summary.interval->hi, row.hi) << row.n;
    EXPECT_GE(summary.interval->coverage, 0.95) << row.n;
  }
}

TEST(Summary, IntervalCoversTheTrueMedian) {
  int num_covered = 0;
  for (uint64_t trial = 0; trial < 2000; ++trial) {
    std::vector<double> samples(15);
    for (size_t i = 0; i < samples.size(); ++i)
      samples[i] = random_normal(7, Stream::kLogits, trial * 15 + i);
    const Summary summary = summarize(samples);
    num_covered += summary.interval->lo <= 0 && summary.interval->hi >= 0;
  }
  EXPECT_GE(num_covered, 1900);  // 96.5 % expected
}

TEST(Ratio, DriftOfTheMachineCancels) {
  std::vector<double> a, b;
  for (int i = 0; i < 9; ++i) {
    a.push_back(1.0 + 0.3 * i);
    b.push_back(0.8 * a.back());
  }
  const Ratio ratio = speed_ratio(a, b, 0);
  EXPECT_NEAR(ratio.ratio, 1.25, 1e-12);
  EXPECT_NEAR(ratio.interval->lo, 1.25, 1e-12);
  EXPECT_EQ(judge(ratio), Verdict::faster);
  EXPECT_EQ(judge(speed_ratio(b, a, 0)), Verdict::slower);
}

TEST(Ratio, SameSeedSameInterval) {
  const std::vector<double> a = {1, 2, 3, 1.5, 2.5, 1.1}, b = {1.2, 1.7, 3.3, 1.4, 2.6, 1};
  EXPECT_EQ(speed_ratio(a, b, 3).interval->lo, speed_ratio(a, b, 3).interval->lo);
  const Ratio ratio = speed_ratio(a, b, 3);
  EXPECT_LE(ratio.interval->lo, ratio.ratio);
  EXPECT_GE(ratio.interval->hi, ratio.ratio);
}

// The definition, with the draws in their order.
TEST(Ratio, IntervalIsTheMiddleOfDrawnMediansAndAtLeastTheOrderStatistics) {
  for (const size_t n : {6, 7, 9, 15, 25, 40, 61}) {
    std::vector<double> a, b, logs;
    for (size_t i = 0; i < n; ++i) {
      a.push_back(1 + 0.05 * random_normal(1, Stream::kX, i));
      b.push_back(1 + 0.05 * random_normal(2, Stream::kX, i));
      logs.push_back(std::log(a[i] / b[i]));
    }
    std::vector<double> medians;
    uint64_t draw = 0;
    for (int i = 0; i < kNumResamples; ++i) {
      std::vector<double> drawn;
      for (size_t j = 0; j < n; ++j) {
        const double u = random_uniform(3, Stream::kBootstrap, draw++);
        drawn.push_back(logs[static_cast<size_t>(u * static_cast<double>(n))]);
      }
      medians.push_back(median_of(drawn));
    }
    std::sort(medians.begin(), medians.end());
    const Interval exact = *summarize(logs).interval, found = *speed_ratio(a, b, 3).interval;
    EXPECT_DOUBLE_EQ(found.lo, std::exp(std::min(medians[50], exact.lo))) << n;
    EXPECT_DOUBLE_EQ(found.hi, std::exp(std::max(medians[kNumResamples - 1 - 50], exact.hi))) << n;
  }
}

TEST(Verdict, Words) {
  const auto ratio = [](double lo, double middle, double hi) {
    return Ratio{middle, 5, Interval{lo, hi, kCoverage}};
  };
  EXPECT_EQ(judge({1.20, 2, {}}), Verdict::cannot_tell) << "two rounds prove nothing";
  EXPECT_EQ(judge(ratio(1.10, 1.20, 1.30)), Verdict::faster);
  EXPECT_EQ(judge(ratio(0.70, 0.80, 0.90)), Verdict::slower);
  EXPECT_EQ(judge(ratio(0.99, 1.01, 1.02)), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(0.90, 1.10, 1.30)), Verdict::inconclusive);
  EXPECT_EQ(judge(ratio(1.0003, 1.0004, 1.0005)), Verdict::within_noise) << "0.04 % is not a result";
  EXPECT_EQ(judge(ratio(1, 1.02, 1.03)), Verdict::within_noise) << "an end at 1 holds 1";
  EXPECT_EQ(judge(ratio(0.97, 0.98, 1)), Verdict::within_noise);
  EXPECT_EQ(judge(ratio(0.99, 1.01, 1 + kResolved)), Verdict::inconclusive) << "5 % is not excluded";
  EXPECT_EQ(judge(ratio(1 / (1 + kResolved), 0.99, 1.01)), Verdict::inconclusive);
}

// Both series come from one distribution and have as few rounds as a command may have. At most 5 % of such
// pairs may be called different.
TEST(Verdict, EqualSeriesAreRarelyCalledDifferent) {
  for (const size_t rounds : {3, 4, 5, 6, 9}) {
    int num_different = 0;
    for (uint64_t trial = 0; trial < 400; ++trial) {
      std::vector<double> a(rounds), b(rounds);
      for (size_t i = 0; i < rounds; ++i) {
        a[i] = 1 + 0.02 * random_normal(1, Stream::kX, trial * rounds + i);
        b[i] = 1 + 0.02 * random_normal(1, Stream::kW1, trial * rounds + i);
      }
      const Verdict verdict = judge(speed_ratio(a, b, 0));
      num_different += verdict == Verdict::faster || verdict == Verdict::slower;
    }
    EXPECT_LE(num_different, 28) << rounds << " rounds";  // 5 %, and twice what 400 trials vary by
  }
}

// Two rounds that differed by 1 % once gave an interval from 0 to 5e10.
TEST(Ratio, BelowThreeRoundsThereIsNoInterval) {
  const std::vector<double> a = {3, 3.03, 3.01}, b = {2, 1.99, 2};
  for (const size_t n : {1, 2, 3}) {
    const Ratio ratio = speed_ratio(std::span(a).first(n), std::span(b).first(n), 0);
    EXPECT_NEAR(ratio.ratio, 1.5, 0.02);
    EXPECT_EQ(ratio.n, static_cast<int64_t>(n));
    EXPECT_EQ(ratio.interval.has_value(), n == 3);
    EXPECT_EQ(judge(ratio), n == 3 ? Verdict::faster : Verdict::cannot_tell);
  }
}

TEST(StudentQuantile, AgreesWithTheTables) {
  const std::pair<double, double> rows[] = {{2, 4.303}, {3, 3.182},  {4, 2.776},  {5, 2.571},
                                            {8, 2.306}, {20, 2.086}, {120, 1.980}};
  for (const auto& [degrees, quantile] : rows)
    EXPECT_NEAR(student_quantile(degrees) / quantile, 1, 5e-4) << degrees;
  EXPECT_NEAR(student_quantile(4, 0.0025), 5.598, 0.01);
  EXPECT_NEAR(student_quantile(2, 0.0005), 31.60, 0.1);
  EXPECT_NEAR(student_quantile(12, 0.25), 0.695, 0.001);
}

TEST(IntervalText, SaysItsCoverage) {
  EXPECT_EQ(interval_text(Interval{0.0012, 0.0034, 0.9375}, "{:.2f}", 1e3), " [93.8 %: 1.20..3.40]");
  EXPECT_EQ(interval_text(std::nullopt, "{:.2f}"), "");
}

}  // namespace
}  // namespace moehill
