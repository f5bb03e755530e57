// Implementation of bench/schedule.h: the loop over rounds, and the rules that end it.
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
  // Six samples are the fewest for which order statistics give a 95 % interval.
  if (samples.size() < 6) return false;
  const Summary summary = summarize(samples);
  const auto& [lo, hi, coverage] = *summary.interval;
  return std::max(hi - summary.median, summary.median - lo) <= target * summary.median;
}

// Returns the reason to stop after the rounds so far, or an empty text to go on. Every rule holds for all
// points at once, so that all points have the same number of rounds.
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

// Round is one sample of each point. `complete` is true once the last point of the order has run.
struct Round {
  std::vector<double> seconds;  // [point]
  bool spoiled = false, stopped = false, complete = false;
};

Round run_round(const std::vector<std::function<void()>>& points, const std::vector<int>& order,
                const ScheduleHooks& hooks) {
  Round round;
  round.seconds.resize(points.size());
  for (const int point : order) {
    if (hooks.before_sample) hooks.before_sample(point);
    const double start = hooks.clock();
    points[point]();
    double elapsed = hooks.clock() - start;
    // With several processes a step is over when the slowest has finished it, so they agree on one value.
    if (hooks.agreed) elapsed = hooks.agreed(point, elapsed);
    round.seconds[point] = elapsed;
    if (hooks.after_sample) hooks.after_sample(point);
    if (hooks.spoiled && hooks.spoiled(point)) round.spoiled = true;
    round.complete = point == order.back();
    round.stopped = hooks.stop && hooks.stop();
    if (round.stopped) break;
  }
  return round;
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
  // Repeats are bounded: on a machine that disturbs every round the measurement has to end, too.
  const int64_t most_repeats = (options.iters + 3) / 4;
  // Negative rounds are the warm-up.
  for (int64_t round = -options.warmup; result.stop_reason.empty();) {
    const std::vector<int> order = round_order(std::max<int64_t>(round, 0), static_cast<int>(points.size()));
    const Round done = run_round(points, order, hooks);
    if (done.stopped) result.stop_reason = kInterrupted;
    const bool repeat = done.spoiled && round >= 0 && result.num_repeated < most_repeats;
    const bool counts = done.complete && round >= 0 && !repeat;
    result.counts.push_back(counts);
    if (hooks.after_round) hooks.after_round(round);
    if (repeat) {
      ++result.num_repeated;
      continue;
    }
    ++round;
    if (!counts) continue;
    for (size_t point = 0; point < points.size(); ++point)
      result.samples[point].push_back(done.seconds[point]);
    result.order.push_back(order);
    if (!done.stopped) result.stop_reason = stop_reason(result, options);
  }
  return result;
}

}  // namespace moehill
