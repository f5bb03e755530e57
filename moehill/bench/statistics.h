// Statistics of timings: medians with intervals, the ratio of two interleaved series, and the words for it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <vector>

namespace moehill {

// Median of n samples with its interval, nonparametric: order statistics l and n + 1 - l, with l the largest
// that leaves at most 2.5 % to each side under Binomial(n, 1/2) (Hahn and Meeker, "Statistical
// Intervals", 5.2). Below 6 samples no pair of order statistics reaches 95 %: the interval is then the whole
// range and `coverage` says what it is worth (5 samples: 93.75 %).
struct Summary {
  double median = 0, ci_lo = 0, ci_hi = 0, min = 0, max = 0;
  double coverage = 0;  // confidence of [ci_lo, ci_hi]
  int64_t n = 0;
};

// Where half of the bursts that measure a peak stay below this share of the best, others use the cores too.
inline constexpr double kPeakShare = 0.8;

// Of at least one sample.
double median_of(std::vector<double> samples);
Summary summarize(std::span<const double> samples);

// How much faster series `b` is than series `a`, both in seconds or any cost, sample i of each from the same
// round: the median of a_i / b_i, with a 95 % interval. The percentile bootstrap over rounds (2000 resamples,
// Stream::kBootstrap of the seed) is widened to the order statistics of summarize() over the log-ratios,
// since with 6 or 7 rounds it alone calls one A/A pair in ten different. Below kFewRounds the interval is
// Student's t over the log-ratios: no 95 % interval of order statistics exists, and a bootstrap of three
// leaves 1 out in a quarter of the cases. One round has no interval.
inline constexpr int64_t kFewRounds = 6;
struct Ratio {
  double ratio = 1, ci_lo = 1, ci_hi = 1;
  int64_t n = 0;
};
// log(a_i / b_i).
std::vector<double> log_ratios(std::span<const double> a, std::span<const double> b);
Ratio speed_ratio(std::span<const double> a, std::span<const double> b, uint32_t seed);

enum class Verdict { faster, slower, within_noise, inconclusive };

// Differences below kNegligible are never called a result; an interval that holds 1 says `within noise` only
// if it excludes differences of kResolved, and is else too wide to say anything, as fewer than 3 rounds are.
inline constexpr double kNegligible = 0.01;
inline constexpr double kResolved = 0.05;
Verdict judge(const Ratio& ratio);
const char* name_of(Verdict verdict);

}  // namespace moehill
