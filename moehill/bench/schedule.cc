#include "moehill/bench/schedule.h"

#include <algorithm>
#include <numeric>

#include "moehill/bench/statistics.h"

namespace moehill {
namespace {

double total_seconds(const std::vector<double>& samples) {
  return std::accumulate(samples.begin(), samples.end(), 0.0);
}

bool interval_reached(const std::vector<double>& samples, double target) {
  if (samples.size() < 6) return false;  // no 95 % interval exists yet
  const Summary summary = summarize(samples);
  return std::max(summary.ci_hi - summary.median, summary.median - summary.ci_lo) <= target * summary.median;
}

// Why to stop after this many rounds; empty: go on.
std::string stop_reason(const ScheduleResult& result, const ScheduleOptions& options) {
  const int64_t num_rounds = static_cast<int64_t>(result.order.size());
  if (num_rounds < options.iters) return "";
  const auto all_points = [&](auto&& rule) {
    return std::all_of(result.samples.begin(), result.samples.end(), rule);
  };
  const bool long_enough =
      all_points([&](const auto& samples) { return total_seconds(samples) >= options.min_time; });
  const bool narrow_enough = options.ci_target <= 0 || all_points([&](const auto& samples) {
                               return interval_reached(samples, options.ci_target);
                             });
  if (!long_enough) return "";
  if (narrow_enough) return options.ci_target > 0 ? "ci_target" : options.min_time > 0 ? "min_time" : "iters";
  return num_rounds >= options.max_rounds ? "max_rounds" : "";
}

}  // namespace

std::vector<int> round_order(int64_t round, int num_points) {
  std::vector<int> order(num_points);
  std::iota(order.begin(), order.end(), 0);
  std::rotate(order.begin(), order.begin() + round / 2 % num_points, order.end());
  if (round % 2 == 1) std::reverse(order.begin(), order.end());
  return order;
}

ScheduleResult time_interleaved(const std::vector<std::function<void()>>& points,
                                const ScheduleOptions& options, const ScheduleHooks& hooks) {
  ScheduleResult result;
  result.samples.resize(points.size());
  if (points.empty()) return result;
  for (int64_t round = -options.warmup; result.stop_reason.empty(); ++round) {
    const std::vector<int> order = round_order(std::max<int64_t>(round, 0), static_cast<int>(points.size()));
    for (const int point : order) {
      if (hooks.before_sample) hooks.before_sample(point);
      const double start = hooks.clock();
      points[point]();
      double elapsed = hooks.clock() - start;
      if (hooks.agreed) elapsed = hooks.agreed(point, elapsed);
      if (round >= 0) result.samples[point].push_back(elapsed);
      if (hooks.after_sample) hooks.after_sample(point);
    }
    if (hooks.after_round) hooks.after_round(round);
    if (round < 0) continue;
    result.order.push_back(order);
    result.stop_reason = stop_reason(result, options);
  }
  return result;
}

}  // namespace moehill
