#include "moehill/cli/measurement.h"

#include <fmt/format.h>

#include <utility>

#include "moehill/cli/comm_bytes.h"
#include "moehill/cli/dump.h"
#include "moehill/cli/poison.h"
#include "moehill/machine/clock.h"

namespace moehill {

Measurement::Measurement(const BenchOptions& options, const std::vector<Point>& points, Yardstick& yardstick,
                         Progress progress)
    : options_(options), yardstick_(yardstick), progress_(std::move(progress)) {
  for (const Point& point : points) {
    LivePoint live;
    live.result.point = point;
    points_.push_back(std::move(live));
  }
}

int Measurement::num_threads(const LivePoint& live) const {
  const RunConfig& config = live.result.point.config;
  return config.num_devices * config.threads_per_device;
}

void Measurement::prepare() {
  for (size_t i = 0; i < points_.size(); ++i) {
    progress_(fmt::format("checking {} of {}: {}", i + 1, points_.size(), points_[i].result.point.label));
    prepare_point(points_[i]);
  }
}

void Measurement::prepare_point(LivePoint& live) {
  const Point& point = live.result.point;
  std::unique_ptr<RunFactory>& factory = factories_[point.distribution.kind];
  if (factory == nullptr) {
    factory = std::make_unique<RunFactory>(point.distribution, options_.seed, yardstick_.cpus());
  }
  live.run = factory->make(point.config);
  live.stages = std::make_unique<DeviceStages>(point.config.num_devices, seconds);
  ThreadTeam& team = yardstick_.team(num_threads(live));
  poison_results(live.run->tensors(), point.config.block.pass, team);
  live.run->step(live.stages->listeners());
  live.result.timed_region = live.stages->entered();
  live.stages->restart();
  live.result.check =
      check_block(live.run->tensors(), point.config.block.pass, options_.check, options_.seed, team);
  describe(live);
  if (options_.dump.empty()) return;
  const std::string folder = points_.size() == 1 ? options_.dump : options_.dump + "/" + point.folder;
  dump_block(live.run->tensors(), point.config.block.pass, folder);
}

// What is known of a run once it has stepped, apart from its time.
void Measurement::describe(LivePoint& live) {
  PointResult& result = live.result;
  const Run& run = *live.run;
  const RunConfig& config = result.point.config;
  const std::vector<int64_t> load = expert_load(run.routing());
  result.runs = run_statistics(run.routing());
  result.load = load_statistics(load);
  result.skew = skew_properties(result.point.distribution, run.routing(), options_.seed);
  result.expert_max_over_mean = max_over_mean(load);
  result.device_max_over_mean = max_over_mean(device_load(load, config.num_devices));
  result.capacity_rows = run.capacity_rows();
  result.num_dropped = run.num_dropped();
  result.executed_flops = run.executed_flops();
  result.traffic = run.traffic();
  result.moved_bytes = run.moved_bytes();
  result.lower_bound_bytes = comm_lower_bound_bytes(run.tensors(), config.block.pass, config.num_devices);
  result.plan_hash = run.plan_hash();
  result.output_hash = run.output_hash();
}

void Measurement::after_sample(LivePoint& live) {
  PointResult& result = live.result;
  if (result.check.status != "off" && live.run->output_hash() != result.output_hash) {
    result.check.status = "failed";
    result.check.reason = "a timed step gave another output than the checked one";
  }
  if (options_.stage_timing) result.stage_samples.push_back(live.stages->slowest_device_seconds());
  if (!options_.trace_dir.empty()) result.trace = live.stages->traces();
  live.stages->restart();
}

void Measurement::time(CommandResult* command) {
  const bool clocked = options_.stage_timing || !options_.trace_dir.empty();
  std::vector<LivePoint*> timed;
  std::vector<std::function<void()>> steps;
  for (LivePoint& live : points_) {
    if (live.result.check.status == "failed") continue;
    timed.push_back(&live);
    const auto listeners = clocked ? live.stages->listeners() : std::vector<StageListener*>{};
    steps.push_back([run = live.run.get(), listeners] { run->step(listeners); });
  }
  ScheduleHooks hooks;
  hooks.after_sample = [&](int i) { after_sample(*timed[i]); };
  hooks.after_round = [&](int64_t round) {
    yardstick_.measure_fma();
    progress_(round < 0 ? "warming up" : fmt::format("round {} of {}", round + 1, options_.schedule.iters));
  };
  ScheduleResult schedule = time_interleaved(steps, options_.schedule, hooks);
  for (size_t i = 0; i < timed.size(); ++i) {
    PointResult& result = timed[i]->result;
    if (result.check.status == "failed") {
      result.stage_samples.clear();
      continue;
    }
    result.samples = std::move(schedule.samples[i]);
    const size_t num_warmup =
        result.stage_samples.empty() ? 0 : result.stage_samples.size() - result.samples.size();
    result.stage_samples.erase(result.stage_samples.begin(),
                               result.stage_samples.begin() + static_cast<int64_t>(num_warmup));
  }
  command->order = schedule.order;
  command->stop_reason = schedule.stop_reason;
}

std::vector<PointResult> Measurement::take_results() {
  std::vector<PointResult> results;
  for (LivePoint& live : points_) {
    live.result.peak_flops = yardstick_.peak_flops(num_threads(live));
    live.result.read_bytes_per_s = yardstick_.read_bytes_per_s(num_threads(live));
    results.push_back(std::move(live.result));
  }
  return results;
}

}  // namespace moehill
