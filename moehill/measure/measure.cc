// Implementation of measure/measure.h: the order of the yardsticks and the rounds, what other work ran
// meanwhile, and the figures that no machine can have.
#include "moehill/measure/measure.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/machine/clock.h"
#include "moehill/machine/memory.h"
#include "moehill/measure/memory_check.h"
#include "moehill/mesh/wait_limit.h"
#include "moehill/quiet/busy.h"
#include "moehill/quiet/environment.h"

namespace moehill {
namespace {

// Returns the bytes of operands that may be in caches although the caches were emptied.
double cache_bytes() {
  const Topology t = detect_topology();
  return static_cast<double>(t.num_cores * t.l2_bytes + t.num_l3 * t.l3_bytes);
}

// Measures the yardsticks once more after the runs, and several times if a figure is above them. On a shared
// machine the yardsticks may have been measured at a worse moment than the steps. The memory for the
// bandwidth is four times the L3, which takes longer to place than a small run takes. So runs of less than
// ten seconds keep the bandwidth that was measured before them, unless a figure is above it.
void measure_yardsticks_again(const Job& job, double begin, Yardstick& yardstick, CommandResult& command) {
  constexpr int kAttempts = 5;
  constexpr double kLongRuns = 10;  // seconds
  const bool after_long_runs = job.largest(seconds() - begin) > kLongRuns;
  for (int attempt = 0; attempt < kAttempts; ++attempt) {
    yardstick.measure_peaks();
    if (after_long_runs || attempt > 0) yardstick.measure_bandwidth();
    bool possible = true;
    for (PointResult& result : command.points) {
      result.peaks = yardstick.peaks(threads_of(result.point.config, job));
      if (job.is_root()) possible = possible && impossible_figure(result, cache_bytes()).empty();
    }
    if (job.largest(possible ? 0 : 1) == 0) return;
  }
}

// Sets how long processes wait for each other. On a shared machine a step can wait for other processes far
// longer than its own work takes.
void limit_waits(const BenchOptions& options, const Job& job, double step_s) {
  constexpr double kLeastSeconds = 30, kSteps = 20;
  if (job.session() != nullptr && options.timeout_s == 0) set_wait_limit(kLeastSeconds + kSteps * step_s);
}

// Fails every point with a figure that no machine with these peaks can have: the step was wrong, or its time.
void refuse_impossible_figures(CommandResult& command) {
  for (PointResult& result : command.points) {
    const std::string why = impossible_figure(result, cache_bytes());
    if (why.empty()) continue;
    result.check.status = CheckStatus::failed;
    result.check.reason = "impossible: " + why;
    result.samples.clear();
    result.cpu_seconds.clear();
    result.stage_samples.clear();
    result.wait_samples.clear();
  }
}

// Returns the work of the point that has the most threads on this node.
OwnWork own_work(const std::vector<Point>& points, const Job& job) {
  const int num_nodes = job.session() == nullptr ? 1 : job.session()->num_nodes();
  int num_threads = 1;
  for (const Point& point : points)
    num_threads =
        std::max(num_threads, point.config.num_devices * point.config.threads_per_device / num_nodes);
  return {num_threads, detect_topology().num_cores, job.processes_of_a_node()};
}

// OtherWork measures how much of the machine other work takes, from its construction on. In a job of several
// nodes it says nothing, because each process sees only its own node's counters.
class OtherWork {
 public:
  explicit OtherWork(const Job& job)
      : job_(job),
        before_(machine_times()),
        cpu_before_(process_cpu_seconds()),
        load_(machine_load().average) {}

  // Collective.
  std::string words() const {
    const double own = job_.sum(process_cpu_seconds() - cpu_before_);
    const bool one_node = job_.session() == nullptr || job_.session()->num_nodes() == 1;
    return one_node ? disturbance_between(before_, machine_times(), own, load_) : "";
  }

 private:
  const Job& job_;
  MachineTimes before_;
  double cpu_before_, load_;
};

}  // namespace

CommandResult measure(const BenchOptions& options, const std::vector<Point>& points, const Job& job,
                      Yardstick& yardstick, const Watcher& watcher) {
  CommandResult command;
  MachineLoad load = machine_load();
  const MachineTimes before = machine_times();
  command.time_utc = utc_now();
  command.process_id = random_id();
  command.started_s = unix_seconds();
  for (const Point& point : points) yardstick.watch(threads_of(point.config, job));
  yardstick.measure_peaks();
  // The bandwidth is measured before the runs and after long ones, but not between, because its memory must
  // not count in their peak.
  yardstick.measure_bandwidth();
  const double begin = seconds();
  reset_peak_rss();
  {
    Measurement measurement(options, points, job, yardstick, job.is_root() ? watcher : Watcher{});
    measurement.prepare();
    // The watcher is told of a busy machine only now. If preparing had failed, its error would be the only
    // line. The yardsticks and the checks have worked on all cores, so stolen CPUs are known.
    load.stolen = stolen_cpus(before, machine_times());
    if (job.is_root()) watcher.tell(busy_words(load, own_work(points, job)));
    limit_waits(options, job, measurement.longest_step());
    OtherWork others(job);
    measurement.time(&command);
    command.disturbance = others.words();
    command.peak_rss_bytes = by_rank(job, static_cast<double>(peak_rss_bytes()));
    command.cache_state = measurement.cache_state();
    command.points = measurement.take_results();
  }
  measure_yardsticks_again(job, begin, yardstick, command);
  // Other processes do not know what all devices executed and moved.
  if (job.is_root()) refuse_impossible_figures(command);
  if (job.is_root()) watcher.show("");
  return command;
}

}  // namespace moehill
