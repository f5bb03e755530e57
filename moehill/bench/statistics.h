// Statistics of timings: medians with intervals, the ratio of two interleaved series, and the words for it.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moehill/base/words.h"

namespace moehill {

// Holds the true value with a probability of at least `coverage`.
struct Interval {
  double lo = 0, hi = 0, coverage = 0;
};

// Fewer rounds have no interval and no verdict: two do not show how far a third would be from them.
inline constexpr int64_t kMinRounds = 3;
// Confidence of the intervals of ratios.
inline constexpr double kCoverage = 0.95;
// Resamples of a bootstrap.
inline constexpr int kNumResamples = 2000;

// Median of n samples with its interval, nonparametric: order statistics l and n + 1 - l, with l the largest
// that leaves at most 2.5 % to each side under Binomial(n, 1/2) (Hahn and Meeker, "Statistical
// Intervals", 5.2). Below 6 samples no pair of order statistics reaches 95 %: the interval is then the whole
// range and its coverage says what it is worth (5 samples: 93.75 %, 3: 75 %).
struct Summary {
  double median = 0, min = 0, max = 0;
  int64_t n = 0;
  std::optional<Interval> interval;  // none below kMinRounds
};

// Other programs use the cores, too, where half of the bursts that measure a peak stay below this share of
// the best.
inline constexpr double kPeakShare = 0.8;

// Both need one sample at least.
double median_of(std::vector<double> samples);
Summary summarize(std::span<const double> samples);

// The speed of one thing over another's: above 1 it is the faster one. Interleaved series (`paired`) have the
// median of the rounds' own ratios, which is not the ratio of the two medians; others have that of
// compare_processes() (bench/comparison.h).
struct Ratio {
  double ratio = 1;
  int64_t n = 0;                     // rounds, or processes of the side that has fewer
  std::optional<Interval> interval;  // none where n is too small
  bool paired = true;
};

// Series `b` to series `a`, both in seconds or any cost, sample i of each from the same round: the median of
// a_i / b_i. Its interval: the percentile bootstrap over rounds (2000 resamples, Stream::kBootstrap of the
// seed) widened to the order statistics of summarize() over the log-ratios, since with 6 or 7 rounds it alone
// calls one A/A pair in ten different. Below kFewRounds the interval is Student's t over the log-ratios: no
// 95 % interval of order statistics exists, and a bootstrap of three leaves 1 out in a quarter of the cases.
inline constexpr int64_t kFewRounds = 6;
// log(a_i / b_i).
std::vector<double> log_ratios(std::span<const double> a, std::span<const double> b);
Ratio speed_ratio(std::span<const double> a, std::span<const double> b, uint32_t seed);

// Student's t: what t stays above with a probability of `tail`, which is below a half.
double student_quantile(double degrees, double tail = (1 - kCoverage) / 2);

// `identical`: of records that differ in nothing, whose ratio is noise by construction; judge() knows of
// ratios alone and never says so.
enum class Verdict { faster, slower, within_noise, inconclusive, cannot_tell, identical };
constexpr auto words(Verdict) {
  return std::array{"faster",       "slower",      "within noise",
                    "inconclusive", "cannot tell", "identical configuration"};
}

// The verdict without an interval is `cannot tell`. Differences below kNegligible are never called a result;
// an interval that holds 1 says `within noise` only if it excludes differences of kResolved, and is else too
// wide to say anything.
inline constexpr double kNegligible = 0.01;
inline constexpr double kResolved = 0.05;
Verdict judge(const Ratio& ratio);

// " [95 %: 1.02..1.31]", the numbers by `number`; empty without an interval.
std::string interval_text(const std::optional<Interval>& interval, const char* number, double unit = 1);

}  // namespace moehill
