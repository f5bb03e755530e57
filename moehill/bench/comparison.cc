#include "moehill/bench/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"

namespace moehill {
namespace {

constexpr int kNumResamples = 2000;
constexpr double kTail = 0.025;

// Draws with replacement, the same ones for the same seed.
class Resampler {
 public:
  explicit Resampler(uint32_t seed) : seed_(seed) {}
  double median(std::span<const double> values, int64_t count) {
    drawn_.resize(static_cast<size_t>(count));
    for (double& value : drawn_) {
      const double u = random_uniform(seed_, Stream::kBootstrap, counter_++);
      value = values[static_cast<size_t>(u * static_cast<double>(values.size()))];
    }
    return median_of(drawn_);
  }

 private:
  uint32_t seed_;
  uint64_t counter_ = 0;
  std::vector<double> drawn_;
};

Ratio independent_ratio(std::span<const double> a, std::span<const double> b, uint32_t seed) {
  Resampler resampler(seed);
  std::vector<double> ratios(kNumResamples);
  for (double& ratio : ratios) {
    const double median_a = resampler.median(a, static_cast<int64_t>(a.size()));
    ratio = median_a / resampler.median(b, static_cast<int64_t>(b.size()));
  }
  std::sort(ratios.begin(), ratios.end());
  const size_t outside = static_cast<size_t>(kTail * kNumResamples);
  return {median_of({a.begin(), a.end()}) / median_of({b.begin(), b.end()}), ratios[outside],
          ratios[kNumResamples - 1 - outside], static_cast<int64_t>(std::min(a.size(), b.size()))};
}

}  // namespace

SpeedComparison compare_speed(const Series& a, const Series& b, bool interleaved, uint32_t seed) {
  MOEHILL_CHECK(!a.costs.empty() && !b.costs.empty(), "comparison of no samples");
  if (!interleaved) return {independent_ratio(a.costs, b.costs, seed), false};
  std::vector<double> common_a, common_b;
  for (size_t i = 0; i < a.rounds.size(); ++i) {
    const auto same = std::find(b.rounds.begin(), b.rounds.end(), a.rounds[i]);
    if (same == b.rounds.end()) continue;
    common_a.push_back(a.costs[i]);
    common_b.push_back(b.costs[static_cast<size_t>(same - b.rounds.begin())]);
  }
  if (common_a.empty()) return {independent_ratio(a.costs, b.costs, seed), false};
  return {speed_ratio(common_a, common_b, seed), true};
}

Verdict judge(const Ratio& ratio, std::optional<double> floor) {
  if (!floor) return judge(ratio);
  if (ratio.n < 3) return Verdict::inconclusive;
  const double lo = std::log(ratio.ci_lo), hi = std::log(ratio.ci_hi), middle = std::log(ratio.ratio);
  const bool inside = lo >= -*floor && hi <= *floor, holds_one = lo <= 0 && hi >= 0;
  if (inside || (!holds_one && std::abs(middle) <= *floor)) return Verdict::within_noise;
  if (holds_one) return Verdict::inconclusive;
  return middle > 0 ? Verdict::faster : Verdict::slower;
}

double noise_floor(std::span<const double> a, std::span<const double> b, int64_t rounds, uint32_t seed) {
  MOEHILL_CHECK(a.size() == b.size() && static_cast<int64_t>(a.size()) >= kFewRounds && rounds > 0,
                "noise floor of {} and {} samples", a.size(), b.size());
  const std::vector<double> logs = log_ratios(a, b);
  Resampler resampler(seed);
  std::vector<double> sizes(kNumResamples);
  for (double& size : sizes) size = std::abs(resampler.median(logs, rounds));
  std::sort(sizes.begin(), sizes.end());
  return sizes[static_cast<size_t>((1 - 2 * kTail) * kNumResamples)];
}

std::string change_text(const Ratio& ratio) {
  const auto percent = [](double value) { return 100 * (value - 1); };
  const std::string middle = fmt::format("{:+.1f} %", percent(ratio.ratio));
  if (ratio.n < 2) return middle;
  return fmt::format("{} [{:+.1f}, {:+.1f}]", middle, percent(ratio.ci_lo), percent(ratio.ci_hi));
}

}  // namespace moehill
