// Statistics of timings: medians with intervals, the ratio of two interleaved series, and the words for the
// result.
// All functions are pure: they time nothing and read nothing. Series that were not interleaved belong to
// bench/comparison.h.
//
//     const Summary summary = summarize(seconds);                   // median, and from 3 samples an interval
//     const Ratio ratio = speed_ratio(seconds_a, seconds_b, seed);  // above 1: b is faster
//     name_of(judge(ratio));                                        // "faster", "within noise", ...
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "moehill/base/words.h"

namespace moehill {

// An interval holds the true value with a probability of at least `coverage`.
struct Interval {
  double lo = 0, hi = 0, coverage = 0;
};

// With fewer rounds than this there is no interval and no verdict: two samples do not show how far a third
// would be from them.
inline constexpr int64_t kMinRounds = 3;
// The confidence of the intervals of ratios.
inline constexpr double kCoverage = 0.95;
// The number of resamples that a bootstrap draws.
inline constexpr int kNumResamples = 2000;

// Summary is the median of n samples with its interval. The interval assumes no distribution: it runs from
// order statistic l to n + 1 - l. Here l is the largest that leaves at most 2.5 % on each side under
// Binomial(n, 1/2) (Hahn and Meeker, "Statistical Intervals", 5.2).
// Below 6 samples no pair of order statistics reaches 95 %. The interval is then the whole range, and its
// coverage says what that is worth: 93.75 % for 5 samples, 75 % for 3.
struct Summary {
  double median = 0, min = 0, max = 0;
  int64_t n = 0;
  std::optional<Interval> interval;  // none below kMinRounds
};

// The peak is measured in bursts. If half of them stay below this share of the best one, other programs use
// the cores as well.
inline constexpr double kPeakShare = 0.8;

// Both functions need at least one sample; none is a failed check.
double median_of(std::vector<double> samples);
Summary summarize(std::span<const double> samples);

// Ratio is the speed of one thing over the speed of another; above 1 the first is faster. For interleaved
// series (`paired`) it is the median of the ratios of single rounds, which is not the ratio of the two
// medians. For other series compare_processes() (bench/comparison.h) computes it.
struct Ratio {
  double ratio = 1;
  int64_t n = 0;                     // rounds, or processes of the side that has fewer
  std::optional<Interval> interval;  // none where n is too small
  bool paired = true;
};

// Compares series `b` with series `a`. Both are in seconds or any other cost, and sample i of each comes from
// the same round. The ratio is the median of a_i / b_i.
// Its interval is the percentile bootstrap over rounds (2000 draws, Stream::kBootstrap of the seed), widened
// to the order statistics of summarize() over the log-ratios. Without the widening, 6 or 7 rounds of equal
// things are called different in one case of ten.
// Below kFewRounds the interval is Student's t over the log-ratios. There no order statistics reach 95 %, and
// a bootstrap of three values leaves out 1 in a quarter of the cases.
inline constexpr int64_t kFewRounds = 6;
// Returns log(a_i / b_i) for each i.
std::vector<double> log_ratios(std::span<const double> a, std::span<const double> b);
Ratio speed_ratio(std::span<const double> a, std::span<const double> b, uint32_t seed);

// Returns the t that Student's t exceeds with probability `tail`, which has to be below a half.
double student_quantile(double degrees, double tail = (1 - kCoverage) / 2);

// `identical` is for records that differ in nothing, whose ratio is noise by construction. The code that
// compares records returns it (report/results_view.h); judge() sees only ratios and never does.
enum class Verdict { faster, slower, within_noise, inconclusive, cannot_tell, identical };
constexpr auto words(Verdict) {
  return std::array{"faster",       "slower",      "within noise",
                    "inconclusive", "cannot tell", "identical configuration"};
}

// Judges a ratio without a noise floor. The verdict is `cannot tell` without an interval. A difference below
// kNegligible is never called a result. An interval that holds 1 is `within noise` only if it excludes
// differences of kResolved. Otherwise it is too wide to say anything, and the verdict is `inconclusive`.
inline constexpr double kNegligible = 0.01;
inline constexpr double kResolved = 0.05;
Verdict judge(const Ratio& ratio);

// Returns " [95 %: 1.02..1.31]" with the ends times `unit` in the format `number` ("{:.2f}"); nothing without
// an interval.
std::string interval_text(const std::optional<Interval>& interval, const char* number, double unit = 1);

}  // namespace moehill
