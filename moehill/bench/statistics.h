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

// How much faster series `b` is than series `a`, both in seconds, sample i of each from the same round: the
// median of a_i / b_i, with a 95 % interval by the percentile bootstrap over rounds (2000 resamples,
// Stream::kBootstrap of the seed).
struct Ratio {
  double ratio = 1, ci_lo = 1, ci_hi = 1;
  int64_t n = 0;
};
Ratio speed_ratio(std::span<const double> a, std::span<const double> b, uint32_t seed);

enum class Verdict { faster, slower, within_noise, inconclusive };

// Differences below kNegligible are never called a result; an interval that holds 1 says `within noise` only
// if it excludes differences of kResolved, and is else too wide to say anything, as fewer than 3 rounds are.
inline constexpr double kNegligible = 0.01;
inline constexpr double kResolved = 0.05;
Verdict judge(const Ratio& ratio);
const char* name_of(Verdict verdict);

}  // namespace moehill
