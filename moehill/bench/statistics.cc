// Implementation of bench/statistics.h. Sources: Hahn and Meeker, "Statistical Intervals", 5.2, for the
// interval of a median; Efron's percentile bootstrap for the interval of a ratio.
#include "moehill/bench/statistics.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <numbers>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"

namespace moehill {
namespace {

constexpr double kTail = 0.025;  // outside the interval on each side, for 95 %

double sorted_median(const std::vector<double>& sorted) {
  const size_t n = sorted.size();
  return n % 2 == 1 ? sorted[n / 2] : 0.5 * (sorted[n / 2 - 1] + sorted[n / 2]);
}

// Cut is the number of samples to leave out at each end, and the probability that the median lies beyond that
// end.
struct Cut {
  int64_t num_outside;
  double tail;
};

// Finds the largest cut whose tail of Binomial(n, 1/2) is at most kTail. Sums logarithms, since the binomial
// coefficients overflow early.
Cut median_cut(int64_t n) {
  const double half_to_n = std::log(0.5) * static_cast<double>(n);
  const auto probability = [&](int64_t i) {  // that i of n samples lie below the median
    const double count = static_cast<double>(n), below = static_cast<double>(i);
    return std::exp(std::lgamma(count + 1) - std::lgamma(below + 1) - std::lgamma(count - below + 1) +
                    half_to_n);
  };
  Cut cut{0, probability(0)};
  for (;;) {  // the tail up to the middle is more than a half
    const double next = cut.tail + probability(cut.num_outside + 1);
    if (next > kTail) return cut;
    cut = {cut.num_outside + 1, next};
  }
}

// Returns the interval of the median by the percentile bootstrap: the middle 95 % of the medians of
// kNumResamples draws.
Interval bootstrap_interval(const std::vector<double>& values, uint32_t seed) {
  std::vector<double> medians(kNumResamples), resample(values.size());
  uint64_t counter = 0;
  for (double& median : medians) {
    for (double& value : resample) {
      const double u = random_uniform(seed, Stream::kBootstrap, counter++);
      value = values[static_cast<size_t>(u * static_cast<double>(values.size()))];
    }
    median = median_of(resample);
  }
  std::sort(medians.begin(), medians.end());
  const size_t outside = static_cast<size_t>(kTail * kNumResamples);
  return {medians[outside], medians[kNumResamples - 1 - outside], kCoverage};
}

// Returns the interval of the mean by Student's t. The median is at most one standard deviation from the
// mean, so with fewer than kFewRounds values it lies inside this interval.
Interval student_interval(const std::vector<double>& values) {
  const double n = static_cast<double>(values.size());
  const double mean = std::accumulate(values.begin(), values.end(), 0.0) / n;
  double squares = 0;
  for (const double value : values) squares += (value - mean) * (value - mean);
  const double half = student_quantile(n - 1) * std::sqrt(squares / (n - 1) / n);
  return {mean - half, mean + half, kCoverage};
}

}  // namespace

double median_of(std::vector<double> samples) {
  MOEHILL_CHECK(!samples.empty(), "median of no samples");
  std::sort(samples.begin(), samples.end());
  return sorted_median(samples);
}

Summary summarize(std::span<const double> samples) {
  MOEHILL_CHECK(!samples.empty(), "summary of no samples");
  std::vector<double> sorted(samples.begin(), samples.end());
  std::sort(sorted.begin(), sorted.end());
  const int64_t n = static_cast<int64_t>(sorted.size());
  const Cut cut = median_cut(n);
  Summary summary;
  summary.n = n;
  summary.median = sorted_median(sorted);
  summary.min = sorted.front();
  summary.max = sorted.back();
  if (n >= kMinRounds)
    summary.interval = {sorted[cut.num_outside], sorted[n - 1 - cut.num_outside], 1 - 2 * cut.tail};
  return summary;
}

std::vector<double> log_ratios(std::span<const double> a, std::span<const double> b) {
  std::vector<double> logs(a.size());
  for (size_t i = 0; i < a.size(); ++i) logs[i] = std::log(a[i] / b[i]);
  return logs;
}

Ratio speed_ratio(std::span<const double> a, std::span<const double> b, uint32_t seed) {
  MOEHILL_CHECK(!a.empty() && a.size() == b.size(), "paired series of {} and {} samples", a.size(), b.size());
  const std::vector<double> logs = log_ratios(a, b);
  Ratio ratio{std::exp(median_of(logs)), static_cast<int64_t>(logs.size()), {}};
  if (ratio.n < kMinRounds) return ratio;
  Interval interval = ratio.n < kFewRounds ? student_interval(logs) : bootstrap_interval(logs, seed);
  if (ratio.n >= kFewRounds) {
    // The bootstrap alone is too narrow for few rounds, so the interval is at least as wide as the exact
    // interval of the order statistics.
    const Interval exact = *summarize(logs).interval;
    interval.lo = std::min(interval.lo, exact.lo);
    interval.hi = std::max(interval.hi, exact.hi);
  }
  ratio.interval = {std::exp(interval.lo), std::exp(interval.hi), interval.coverage};
  return ratio;
}

// With t = sqrt(degrees) tan(a), Student's density becomes c cos(a)^(degrees - 1). Simpson's rule integrates
// this density to within 1e-6, and bisection finds the angle that leaves `tail` above it.
double student_quantile(double degrees, double tail) {
  const double c =
      std::exp(std::lgamma((degrees + 1) / 2) - std::lgamma(degrees / 2)) / std::sqrt(std::numbers::pi);
  constexpr int kSteps = 64;  // enough for 1e-6, see above
  const auto above_zero = [&](double angle) {
    double sum = 0;
    for (int i = 0; i <= kSteps; ++i) {
      const double weight = i == 0 || i == kSteps ? 1 : i % 2 == 1 ? 4 : 2;
      sum += weight * std::pow(std::cos(angle * i / kSteps), degrees - 1);
    }
    return c * sum * angle / kSteps / 3;
  };
  double lo = 0, hi = std::numbers::pi / 2;
  for (int i = 0; i < 40; ++i) {
    const double middle = (lo + hi) / 2;
    (above_zero(middle) < 0.5 - tail ? lo : hi) = middle;
  }
  return std::sqrt(degrees) * std::tan(lo);
}

Verdict judge(const Ratio& ratio) {
  if (!ratio.interval) return Verdict::cannot_tell;
  const auto& [lo, hi, coverage] = *ratio.interval;
  if (lo <= 1 && hi >= 1) {
    const bool narrow = lo > 1 / (1 + kResolved) && hi < 1 + kResolved;
    return narrow ? Verdict::within_noise : Verdict::inconclusive;
  }
  if (std::abs(std::log(ratio.ratio)) < std::log1p(kNegligible)) return Verdict::within_noise;
  return ratio.ratio > 1 ? Verdict::faster : Verdict::slower;
}

std::string interval_text(const std::optional<Interval>& interval, const char* number, double unit) {
  if (!interval) return "";
  const auto text = [&](double value) { return fmt::format(fmt::runtime(number), value * unit); };
  return fmt::format(" [{:.3g} %: {}..{}]", 100 * interval->coverage, text(interval->lo), text(interval->hi));
}

}  // namespace moehill
