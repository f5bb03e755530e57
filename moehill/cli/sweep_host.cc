#include "moehill/cli/sweep_host.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/job.h"
#include "moehill/cli/memory_check.h"
#include "moehill/cli/record.h"
#include "moehill/cli/yardstick.h"
#include "moehill/machine/process_identity.h"

namespace moehill {
namespace {

// Measured with 0.8 to 1.1 GB of weights on two cores: 4 s before and after the steps of a forward pass, 5 to
// 15 s with the backward pass.
constexpr double kStartSeconds = 1.5, kSetupSecondsPerWeightGb = 3;

double weight_gb(const MoeShape& s) {
  const double columns = s.experts * static_cast<double>(s.mlp_dim) + static_cast<double>(s.shared_dim);
  return 3 * static_cast<double>(s.hidden) * columns * static_cast<double>(dtype_bytes(s.dtype)) / 1e9;
}

// A path that the run chooses by itself stays `auto` here: which one it takes depends on a probe that may
// change.
StoredJson point_options(const BenchOptions& options, const Point& point) {
  StoredJson config = config_json(options, point);
  if (!options.ep_path && point.config.mode == ParallelMode::ep) config["ep_path"] = "auto";
  return config;
}

// One point's config, or those of several under "points".
StoredJson options_json(const BenchOptions& options, const std::vector<Point>& points) {
  if (points.size() == 1) return point_options(options, points[0]);
  StoredJson list = StoredJson::array();
  for (const Point& point : points) list.push_back(point_options(options, point));
  return {{"points", list}};
}

// As the command itself resolves it; what a launcher adds is known beforehand: one device a process.
ResolvedPoint resolve_bench(bool launched, const std::vector<std::string>& arguments, int num_cores,
                            const MachineSpeed& speed) {
  std::optional<BenchOptions> options = parse_bench_options(arguments);
  if (!options) throw input_error("--help", "it in an experiment", "options of a run", "leave it out");
  if (options->tokens_auto) {
    throw input_error("--tokens", "auto", "a number, so that a point says what it is",
                      "use moehill sweep --budget");
  }
  if (launched && options->mesh == "auto") options->mesh = "mpi";
  if (!launched) adopt_job(Job(), num_cores, options->mesh, options->devices, options->threads_per_device);
  const std::vector<Point> points = expand_points(*options, num_cores);
  ResolvedPoint resolved;
  resolved.options = options_json(*options, points);
  resolved.tokens = options->tokens;
  // For every parallel mode, since one device takes the cores of all of them.
  resolved.devices = resolve_layout(*options, num_cores).num_devices;
  resolved.seconds = predict_run_seconds(points, options->schedule, speed);
  resolved.bytes = total_bytes(predict_points_memory(points));
  return resolved;
}

}  // namespace

MachineSpeed measure_speed(const Topology& topology) {
  Yardstick yardstick(topology.core_cpus);
  yardstick.team(topology.num_cores);
  for (int i = 0; i < 3; ++i) yardstick.measure_fma();
  yardstick.measure_bandwidth();
  return {yardstick.peak_flops(topology.num_cores), yardstick.read_bytes_per_s(topology.num_cores)};
}

double predict_run_seconds(const std::vector<Point>& points, const ScheduleOptions& schedule,
                           const MachineSpeed& speed) {
  const int64_t rounds = schedule.warmup + schedule.iters;
  // estimate_seconds() counts a check of 3 s a point for large shapes; small ones are checked in no time.
  double seconds = kStartSeconds;
  for (const Point& point : points) {
    const double gb = weight_gb(point.config.shape);
    const double passes = point.config.block.pass == Pass::forward ? 1 : 2;
    seconds += gb * kSetupSecondsPerWeightGb * passes +
               estimate_step_seconds(point, speed) * static_cast<double>(rounds + 1);
  }
  return std::max(seconds, schedule.min_time * static_cast<double>(points.size()));
}

std::vector<std::string> sweep_option_names(const std::string& command) {
  if (command != "bench") return {};
  BenchOptions options;
  std::vector<std::string> names;
  for (std::string name : bench_option_set(options).names()) {
    name.erase(0, 2);
    std::replace(name.begin(), name.end(), '-', '_');
    names.push_back(name);
  }
  return names;
}

SweepHost make_sweep_host(const Environment& environment, const MachineSpeed& speed) {
  const int num_cores = environment.topology.num_cores;
  SweepHost host;
  host.resolve = [num_cores, speed](const std::string& command, bool launched,
                                    const std::vector<std::string>& arguments) {
    MOEHILL_CHECK(command == "bench", "no command {}", command);
    return resolve_bench(launched, arguments, num_cores, speed);
  };
  host.program = "/proc/self/exe";
  host.build = environment.build + ", " + environment.compiler + ", " + environment.flags;
  host.machine =
      environment.topology.cpu_model + ", " + std::to_string(num_cores) + " cores, " + environment.kernel;
  host.provenance = environment_record(environment);
  host.provenance.erase("load_average");  // every record has its own
  host.provenance["host"] = this_process().host;
  host.provenance["pinning"] = environment.topology.core_cpus;
  return host;
}

}  // namespace moehill
