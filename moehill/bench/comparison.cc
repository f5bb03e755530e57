// Implementation of bench/comparison.h: resampling for the noise floor, Welch's t for separate processes, and
// the words for a verdict.
#include "moehill/bench/comparison.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

// Draws samples with replacement. The same seed gives the same draws, so that a comparison can be repeated to
// the last digit.
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

// LogCosts is the mean and the variance of log(cost) over the processes of one side. It takes logarithms
// because speeds are compared as a ratio.
struct LogCosts {
  double mean = 0, variance = 0, n = 0;
};

LogCosts log_costs(std::span<const ProcessCost> processes) {
  LogCosts logs;
  logs.n = static_cast<double>(processes.size());
  for (const ProcessCost& process : processes) logs.mean += std::log(process.cost) / logs.n;
  for (const ProcessCost& process : processes)
    logs.variance += std::pow(std::log(process.cost) - logs.mean, 2) / (logs.n - 1);
  return logs;
}

// Returns the factor s = |2u - 1| of compare_processes(): 0 if the two sides took turns, 1 if one ran after
// the other.
double apart_in_time(std::span<const ProcessCost> a, std::span<const ProcessCost> b) {
  double first = 0;  // pairs in which a ran first; half of each that began together
  for (const ProcessCost& of_a : a) {
    for (const ProcessCost& of_b : b) {
      // Without start times nobody can tell that the sides took turns, so the worst case is assumed.
      if (!of_a.started_s || !of_b.started_s) return 1;
      first += *of_a.started_s < *of_b.started_s ? 1 : *of_a.started_s > *of_b.started_s ? 0 : 0.5;
    }
  }
  return std::abs(2 * first / static_cast<double>(a.size() * b.size()) - 1);
}

std::vector<ProcessCost> as_processes(const Series& series) {
  std::vector<ProcessCost> processes;
  // These series have no start times, hence s = 1 and the widest interval.
  for (const double cost : series.costs) processes.push_back({cost, std::nullopt});
  return processes;
}

// Returns the host of a sample; "" if it is not known.
std::string host_of(const Series& series, size_t i) { return i < series.hosts.size() ? series.hosts[i] : ""; }

bool of_two_hosts(const std::string& a, const std::string& b) { return !a.empty() && !b.empty() && a != b; }

}  // namespace

Ratio compare_speed(const Series& a, const Series& b, uint32_t seed) {
  MOEHILL_CHECK(!a.costs.empty() && !b.costs.empty(), "comparison of no samples");
  std::vector<double> common_a, common_b;
  bool left_out = false;
  for (size_t i = 0; i < a.rounds.size(); ++i) {
    const auto same = std::find(b.rounds.begin(), b.rounds.end(), a.rounds[i]);
    if (same == b.rounds.end()) continue;
    const size_t j = static_cast<size_t>(same - b.rounds.begin());
    if (of_two_hosts(host_of(a, i), host_of(b, j))) {
      left_out = true;
      continue;
    }
    common_a.push_back(a.costs[i]);
    common_b.push_back(b.costs[j]);
  }
  // If all common rounds ran on two hosts, the difference of the hosts would count as a difference of the two
  // things. In compare_processes() it would count as well.
  if (common_a.empty() && left_out) return {1, 0, {}, true};
  // Without a common round nothing was interleaved: a drift of the machine may lie between the two series.
  if (common_a.empty()) return compare_processes(as_processes(a), as_processes(b));
  return speed_ratio(common_a, common_b, seed);
}

Ratio compare_processes(std::span<const ProcessCost> a, std::span<const ProcessCost> b) {
  MOEHILL_CHECK(!a.empty() && !b.empty(), "comparison of no processes");
  const LogCosts of_a = log_costs(a), of_b = log_costs(b);
  const double middle = of_a.mean - of_b.mean;
  Ratio ratio{std::exp(middle), static_cast<int64_t>(std::min(a.size(), b.size())), {}, false};
  if (ratio.n < kMinProcesses) return ratio;
  // The degrees of freedom are those of Welch and Satterthwaite; the variance has the extra term v s, as the
  // header says.
  const double part_a = of_a.variance / of_a.n, part_b = of_b.variance / of_b.n, parts = part_a + part_b;
  double half = 0;
  if (parts > 0) {
    const double degrees = parts * parts / (part_a * part_a / (of_a.n - 1) + part_b * part_b / (of_b.n - 1));
    half =
        student_quantile(degrees) * std::sqrt(parts + apart_in_time(a, b) * (of_a.variance + of_b.variance));
  }
  ratio.interval = {std::exp(middle - half), std::exp(middle + half), kCoverage};
  return ratio;
}

Verdict judge(const Ratio& ratio, std::optional<double> floor) {
  if (!floor || !ratio.interval) return judge(ratio);
  const double lo = std::log(ratio.interval->lo), hi = std::log(ratio.interval->hi),
               middle = std::log(ratio.ratio);
  // An interval inside the floor is noise. A ratio inside the floor is noise even if its interval excludes 1,
  // because equal things differ that much on this machine.
  const bool inside = lo >= -*floor && hi <= *floor, holds_one = lo <= 0 && hi >= 0;
  if (inside || (!holds_one && std::abs(middle) <= *floor)) return Verdict::within_noise;
  if (holds_one) return Verdict::inconclusive;
  return middle > 0 ? Verdict::faster : Verdict::slower;
}

std::string verdict_words(const Ratio& ratio, std::optional<double> floor) {
  const Verdict verdict = judge(ratio, floor);
  if (verdict != Verdict::cannot_tell) return name_of(verdict);
  return fmt::format(
      "{}: {}, at least {} needed", name_of(verdict),
      ratio.paired ? count_text(ratio.n, "round") : count_text(ratio.n, "process", "processes"),
      ratio.paired ? kMinRounds : kMinProcesses);
}

double noise_floor(std::span<const double> a, std::span<const double> b, int64_t rounds, uint32_t seed) {
  MOEHILL_CHECK(a.size() == b.size() && static_cast<int64_t>(a.size()) >= kFewRounds && rounds > 0,
                "noise floor of {} and {} samples", a.size(), b.size());
  const std::vector<double> logs = log_ratios(a, b);
  Resampler resampler(seed);
  std::vector<double> sizes(kNumResamples);
  // A point compared with itself over `rounds` rounds shows the log-ratio that noise alone causes.
  for (double& size : sizes) size = std::abs(resampler.median(logs, rounds));
  std::sort(sizes.begin(), sizes.end());
  return sizes[static_cast<size_t>(kCoverage * kNumResamples)];
}

std::string change_text(const Ratio& ratio) {
  const auto percent = [](double value) { return 100 * (value - 1); };
  std::optional<Interval> interval = ratio.interval;
  if (interval) interval = {percent(interval->lo), percent(interval->hi), interval->coverage};
  return fmt::format("{:+.1f} %{}", percent(ratio.ratio), interval_text(interval, "{:+.1f}"));
}

std::string disagreement_text(const Ratio& ratio, double median_a, double median_b) {
  const bool other_way = (ratio.ratio > 1 && median_a < median_b) || (ratio.ratio < 1 && median_a > median_b);
  return other_way ? "; the medians order the other way" : "";
}

}  // namespace moehill
