// Implementation of cli/sweep_host.h: the SweepHost of this program, which tells sweeps and climbs about
// commands.
#include "moehill/cli/sweep_host.h"

#include <algorithm>
#include <memory>

#include "moehill/base/error.h"
#include "moehill/cli/bench_options.h"
#include "moehill/cli/profile_options.h"
#include "moehill/machine/memory.h"
#include "moehill/machine/process_identity.h"
#include "moehill/measure/ablation_arms.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/memory_check.h"
#include "moehill/mesh/job.h"

namespace moehill {
namespace {

// Returns the options of a point as they are stored. A path that the run chooses itself stays `auto`, because
// the choice depends on a probe that may change.
StoredJson point_options(const BenchOptions& options, const Point& point) {
  StoredJson config = json_of(recorded_config(options, point));
  if (point.path_is_auto) config["ep_path"] = "auto";
  return config;
}

// Returns the options of one point. For several points, it returns the options that they share, and under
// "points" the options in which each point differs.
StoredJson options_json(const BenchOptions& options, const std::vector<Point>& points) {
  StoredJson shared = point_options(options, points[0]);
  if (points.size() == 1) return shared;
  std::vector<StoredJson> all;
  for (const Point& point : points) {
    all.push_back(point_options(options, point));
    if (point.path != ProfilePath::none) all.back()["path"] = name_of(point.path);
  }
  // The loop erases from `shared`, so it goes over a copy.
  const StoredJson first = shared;
  for (const auto& [name, value] : first.items()) {
    // A point may lack an option that the first point has, such as a wire or a placement.
    const auto agrees = [&, key = name, &expected = value](const StoredJson& one) {
      const auto found = one.find(key);
      return found != one.end() && *found == expected;
    };
    if (!std::all_of(all.begin(), all.end(), agrees)) shared.erase(name);
  }
  for (StoredJson& one : all) {
    for (const auto& [name, value] : shared.items()) one.erase(name);
  }
  shared["points"] = all;
  return shared;
}

// Returns the options that parse_*_options() returned. If that function printed help there are none, which is
// refused here.
template <typename Options>
Options required(const std::optional<Options>& options) {
  if (!options) throw usage_error("--help cannot be used in an experiment", "leave it out");
  return *options;
}

// Fills in what the launcher will add: one device for each process.
void adopt_sweep(BenchOptions& options, bool launched) {
  if (options.tokens_auto) {
    throw input_error("--tokens", "auto", "a number, so that a point says what it is",
                      "use moehill sweep --budget");
  }
  if (launched && options.mesh == MeshKind::automatic) options.mesh = MeshKind::mpi;
  if (!launched) adopt_job(Job(), options.mesh, options.devices, options.threads_per_device);
}

// Returns what a sweep needs to know of a point before it runs: its stored options, predicted seconds and
// bytes.
ResolvedPoint resolved_point(const BenchOptions& options, const std::vector<Point>& points, int num_cores,
                             RunPredictor& predictor) {
  ResolvedPoint resolved;
  resolved.options = options_json(options, points);
  resolved.tokens = options.shape.tokens;
  // `--parallel-mode none` uses the cores of all devices, so the devices are counted for every mode.
  resolved.devices = resolve_layout(options, num_cores).num_devices;
  const std::vector<Point> arms = with_ablations(points, options.ablations);
  const RunPredictor::RunSeconds seconds = predictor.run_seconds(options, arms);
  resolved.seconds = seconds.first;
  resolved.repeat_seconds = seconds.repeat;
  resolved.bytes = total_bytes(predict_points_memory(arms));
  if (points.size() > 1) return resolved;
  if (const std::optional<RunPredictor::Step> step = predictor.step(options, points[0])) {
    resolved.step_seconds = step->seconds;
    resolved.bound_seconds = step->bound_seconds;
  }
  return resolved;
}

// Resolves the arguments in the same way as the command itself.
ResolvedPoint resolve_command(SweptCommand command, bool launched, const std::vector<std::string>& arguments,
                              int num_cores, RunPredictor& predictor) {
  if (command == SweptCommand::profile) {
    ProfileOptions options = required(parse_profile_options(arguments));
    adopt_sweep(options.bench, launched);
    return resolved_point(options.bench, expand_profile_points(options, num_cores), num_cores, predictor);
  }
  BenchOptions options = required(parse_bench_options(arguments));
  adopt_sweep(options, launched);
  return resolved_point(options, expand_points(options, num_cores), num_cores, predictor);
}

}  // namespace

std::vector<std::string> sweep_option_names(SweptCommand command) {
  BenchOptions bench;
  ProfileOptions profile;
  OptionSet::Pairs lists;
  std::vector<std::string> names = command == SweptCommand::bench ? bench_option_set(bench, &lists).names()
                                                                  : profile_option_set(profile).names();
  for (std::string& name : names) {
    name.erase(0, 2);
    std::replace(name.begin(), name.end(), '-', '_');
  }
  return names;
}

SweepHost make_sweep_host(const Environment& environment, const RunPredictor& predictor) {
  const int num_cores = environment.topology.num_cores;
  SweepHost host;
  // The predictor remembers the last routing. Copies of the function must share the predictor, or each copy
  // would route again.
  const auto own = std::make_shared<RunPredictor>(predictor);
  host.prediction_source = own->source();
  host.resolve = [num_cores, own](SweptCommand command, bool launched,
                                  const std::vector<std::string>& arguments) {
    return resolve_command(command, launched, arguments, num_cores, *own);
  };
  host.usable_bytes = 0.9 * static_cast<double>(available_memory_bytes());
  host.program = "/proc/self/exe";
  host.build = build_identity(environment) + ", " + environment.compiler + ", " + environment.flags;
  host.machine =
      environment.topology.cpu_model + ", " + std::to_string(num_cores) + " cores, " + environment.kernel;
  host.provenance = json_of(recorded_environment(environment));
  host.provenance.erase("load_average");  // each record has its own load average
  host.provenance["host"] = this_process().host;
  host.provenance["pinning"] = environment.topology.core_cpus;
  return host;
}

}  // namespace moehill
