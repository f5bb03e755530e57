// Implementation of predict/sweep_prediction.h.
#include "moehill/predict/sweep_prediction.h"

#include <algorithm>

#include "moehill/model/roofline.h"
#include "moehill/model/shared_cores.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/quiet/yardstick.h"
#include "moehill/routing/placement.h"

namespace moehill {
namespace {

// These figures come from runs with 0.8 to 1.1 GB of weights on two cores: 4 s before and after the steps of
// a forward pass, 5 to 15 s with the backward pass.
constexpr double kStartSeconds = 1.5, kSetupSecondsPerWeightGb = 3;
// Results with known bits are only hashed. On two cores with 1.2 GB of weights, 70 % of the seconds above
// were the check's.
constexpr double kKnownSecondsPerWeightGb = 1;

double weight_gb(const MoeShape& s) {
  return static_cast<double>(s.weights()) * static_cast<double>(dtype_bytes(s.dtype)) / 1e9;
}

}  // namespace

MachineSpeed measure_speed(const Topology& topology, int num_threads) {
  Yardstick yardstick(topology.core_cpus);
  yardstick.watch({num_threads});
  for (int i = 0; i < 3; ++i) yardstick.measure_peaks();
  yardstick.measure_bandwidth();
  const Peaks peaks = yardstick.peaks({num_threads});
  return {peaks.f32.best, peaks.read.median};
}

RunPredictor::RunSeconds RunPredictor::run_seconds(const BenchOptions& options,
                                                   const std::vector<Point>& points) {
  const ScheduleOptions& schedule = options.schedule;
  const double steps = static_cast<double>(schedule.warmup + schedule.iters + kUntimedSteps);
  RunSeconds seconds{kStartSeconds, kStartSeconds};
  for (const Point& point : points) {
    const double passes = point.config.block.pass == Pass::forward ? 1 : 2;
    const double gb = weight_gb(point.config.shape) * passes, of_steps = step_seconds(options, point) * steps;
    seconds.first += gb * kSetupSecondsPerWeightGb + of_steps;
    seconds.repeat += gb * kKnownSecondsPerWeightGb + of_steps;
  }
  const double least = schedule.min_time * static_cast<double>(points.size());
  return {std::max(seconds.first, least), std::max(seconds.repeat, least)};
}

std::string RunPredictor::source() const {
  if (!probed_.hardware) return "from the measured peak, since " + probed_.note;
  return "by the model from the probe of this machine; what it does not cover, from the measured peak" +
         (probed_.note.empty() ? "" : " (" + probed_.note + ")");
}

bool RunPredictor::covers(const BenchOptions& options, const Point& point) const {
  if (!probed_.hardware || !unpredictable(point.config).empty()) return false;
  return options.mesh == MeshKind::mpi || unlike_nodes(point.config, *probed_.hardware, 1).empty();
}

double RunPredictor::step_seconds(const BenchOptions& options, const Point& point) {
  if (!covers(options, point)) return estimate_step_seconds(point, speed_);
  const Routing& routed = routing(point, options.seed);
  const DeviceMemory memory = device_memory(options.mesh);
  if (point.path_is_auto)
    return rank_paths(point.config, routed, *probed_.hardware, memory).front().prediction.time_s;
  return predict_run(point.config, routed, *probed_.hardware, memory).time_s;
}

std::optional<RunPredictor::Step> RunPredictor::step(const BenchOptions& options, const Point& point) {
  if (!covers(options, point)) return std::nullopt;
  RunConfig config = point.config;
  const Routing& routed = routing(point, options.seed);
  const DeviceMemory memory = device_memory(options.mesh);
  if (point.path_is_auto) config.spread = rank_paths(config, routed, *probed_.hardware, memory).front().path;
  const PlanCounts counts =
      plan_counts(config, config.placement.empty() ? routed : place(routed, {config.placement}));
  const Hardware shared = with_shared_cores(*probed_.hardware, config.num_devices, config.threads_per_device);
  const Roofline bound =
      roofline(placed_problem(config, shared, memory), counts, shared, config.threads_per_device, {}, 0);
  return Step{predict_run(config, routed, *probed_.hardware, memory).time_s, bound.total.bound_s};
}

const Routing& RunPredictor::routing(const Point& point, uint32_t seed) {
  const std::pair<MoeShape, DistributionOptions> wanted = {point.config.shape, point.distribution};
  const int spares = point.config.block.capacity.spares;
  if (!routing_ || !(wanted == routed_) || seed != seed_ || routing_->num_spares() != spares) {
    routing_ = routing_of(point.config.shape, point.distribution, seed, spares);
    routed_ = wanted;
    seed_ = seed;
  }
  return *routing_;
}

}  // namespace moehill
