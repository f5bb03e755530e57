// Implementation of validate/simulate_validation.h: runs of random shapes, steps of records, and the figures
// of the error.
#include "moehill/validate/simulate_validation.h"

#include <fmt/format.h>

#include <algorithm>
#include <cmath>
#include <iterator>
#include <map>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/bench/statistics.h"
#include "moehill/measure/recorded_step.h"
#include "moehill/model/shared_cores.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/predict/advice.h"
#include "moehill/predict/prediction.h"
#include "moehill/simulation/engine.h"
#include "moehill/simulation/program_builder.h"

namespace moehill {
namespace {

// The steps that are run here have these numbers of devices.
constexpr int kDevices[] = {2, kMostDevicesRun};

std::vector<RunConfig> spreads_on(const MoeShape& shape, int num_devices) {
  RunConfig config{.shape = shape};
  config.num_devices = num_devices;
  config.spread = Spread::dp;
  std::vector<RunConfig> spreads = {config};
  for (const Spread path : {Spread::compact_psum, Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused}) {
    config.spread = path;
    spreads.push_back(config);
  }
  return spreads;
}

double simulated_seconds(const RunConfig& config, const Routing& routing, const Hardware& hardware,
                         DeviceMemory memory) {
  const Hardware shared = with_shared_cores(hardware, config.num_devices, config.threads_per_device);
  const PlanCounts counts = plan_counts(config, routing);
  const StepProgram program = build_program(placed_problem(config, shared, memory), counts, shared);
  return simulate(make_cluster(shared, config.num_devices, config.shape.dtype), program).seconds;
}

// DeviceLayout is the devices of a run and the threads of each. Runs of unlike layouts share cores in unlike
// ways.
using DeviceLayout = std::pair<int, int>;

// Returns "1 node x 2 devices x 1 thread". The devices of this machine may share its cores, so on one node
// the layout counts threads.
std::string layout_of(const RunConfig& config, const Hardware& hardware) {
  if (nodes_of(hardware, config.num_devices) > 1)
    return layout_text(hardware, config.num_devices, config.threads_per_device);
  return fmt::format("1 node x {}", layout_words(config.num_devices, config.threads_per_device));
}

std::string label_of(const DeviceLayout& layout, const Hardware& hardware) {
  const auto& [devices, threads] = layout;
  std::string label = count_text(devices, "device");
  if (threads > 1) label += fmt::format(" of {} threads", threads);
  const int64_t cores = int64_t{hardware.topology.devices_per_node} * hardware.units_per_device;
  const bool can_share = !hardware.is_chip() && !hardware.topology.has_network();
  if (can_share && int64_t{devices} * threads > cores) label += ", which share " + count_text(cores, "core");
  return label;
}

std::string figures_line(const std::string& label, const std::vector<SimulatedRun>& runs) {
  std::vector<double> sizes, errors;
  for (const SimulatedRun& run : runs) {
    errors.push_back(run.error());
    sizes.push_back(std::abs(run.error()));
  }
  std::sort(sizes.begin(), sizes.end());
  const double p90 = sizes[(9 * sizes.size() + 9) / 10 - 1];  // nearest rank
  return fmt::format("{}: {}, median error {:.1f} % (with its sign {:+.1f} %), 90th percentile {:.1f} %\n",
                     label, count_text(std::ssize(runs), "step"), 100 * median_of(sizes),
                     100 * median_of(errors), 100 * p90);
}

}  // namespace

int num_simulated_shapes(int num_shapes) { return num_shapes * static_cast<int>(std::size(kDevices)); }

std::vector<SimulatedRun> simulate_shapes(int num_shapes, uint32_t corpus, const Hardware& hardware,
                                          const ShapeDone& done) {
  std::vector<SimulatedRun> runs;
  bool ended = false;
  for (const int num_devices : kDevices) {
    if (ended) break;
    const auto shapes = run_shapes(
        num_shapes, corpus, [&](const MoeShape& shape) { return spreads_on(shape, num_devices); },
        [&](const RunConfig& config, const Routing& routing) {
          return Expected{simulated_seconds(config, routing, hardware, DeviceMemory::shared)};
        },
        [&] { return ended = done && done(); });
    for (const ValidatedShape& shape : shapes) {
      for (const ValidatedSpread& spread : shape.spreads)
        runs.push_back({spread.config, spread.predicted_s, spread.measured_s});
    }
  }
  return runs;
}

std::vector<SimulatedRun> simulate_records(const std::string& path, const Hardware& hardware) {
  std::vector<SimulatedRun> runs;
  for (const RecordedStep& step : steps_of_records(path)) {
    if (step.config.num_devices == 1 || step.time_s <= 0) continue;
    require_its_nodes(step, hardware);
    SimulatedRun& run = runs.emplace_back(SimulatedRun{step.config, 0, step.time_s});
    run.left_out = incomparable(step.config);
    if (run.left_out.empty())
      run.simulated_s = simulated_seconds(step.config, step.routing, hardware, step.memory);
  }
  if (runs.empty())
    throw input_error("--record", path + " without a timed step on several devices whose check has passed",
                      "at least one", "write one by moehill bench --parallel-mode ep --json");
  return runs;
}

std::string simulated_runs_report(const std::vector<SimulatedRun>& runs, const Hardware& hardware) {
  std::vector<std::vector<std::string>> rows;
  std::map<DeviceLayout, std::vector<SimulatedRun>> by_layout;
  std::string left_out;
  for (const SimulatedRun& run : runs) {
    const bool is_simulated = run.left_out.empty();
    if (is_simulated) by_layout[{run.config.num_devices, run.config.threads_per_device}].push_back(run);
    if (!is_simulated && left_out.find(run.left_out) == std::string::npos)
      left_out += fmt::format("not simulated: {}\n", run.left_out);
    rows.push_back({to_string(run.config.shape), name_of(run.config.spread), layout_of(run.config, hardware),
                    is_simulated ? fmt::format("{:.2f}", 1e3 * run.simulated_s) : "-",
                    fmt::format("{:.2f}", 1e3 * run.measured_s),
                    is_simulated ? fmt::format("{:+.1f}", 100 * run.error()) : "-"});
  }
  std::string text =
      format_table({"shape", "spread", "layout", "simulated ms", "measured ms", "error %"}, rows) + left_out;
  for (const auto& [layout, own] : by_layout) text += figures_line(label_of(layout, hardware), own);
  return text;
}

}  // namespace moehill
