// Implementation of predict/prediction.h: predictions of points from the probe of this machine, and the
// choice of a path for --ep-path auto.
#include "moehill/predict/prediction.h"

#include <fmt/format.h>

#include <algorithm>

#include "moehill/base/table.h"
#include "moehill/model/shared_cores.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/routing/placement.h"

namespace moehill {
namespace {

std::string milliseconds(double seconds) { return fmt::format("{:.2f} ms", 1e3 * seconds); }

// Returns the nodes of a probe: a probe that was started on several nodes describes them as nodes of one
// switch. A fat tree without dims, which no probe writes, counts as one node.
int nodes_of_probe(const Hardware& hardware) {
  const ClusterTopology& topology = hardware.topology;
  return topology.kind == TopologyKind::fat_tree && !topology.dims.empty() ? topology.dims.front() : 1;
}

// Returns why nothing can be predicted for a job here; empty if points can be predicted.
std::string unpredictable_job(const ProbedHardware& probed, const Environment& environment) {
  if (!probed.hardware) return probed.note;
  if (!environment.node_of.empty())
    return "the model has only nodes of equally many neighbouring processes, the last perhaps with fewer";
  const int nodes = nodes_of_probe(*probed.hardware);
  if (environment.num_nodes == 1 || environment.num_nodes == nodes) return "";
  return fmt::format("the probe knows {}, not {} (moehill probe, started like this, knows them)",
                     count_text(nodes, "node"), environment.num_nodes);
}

std::string choice_line(const std::string& label, const std::vector<RankedPath>& ranked) {
  std::string others;
  for (size_t i = 1; i < ranked.size(); ++i) {
    others += fmt::format("{}{} {}", i > 1 ? ", " : "", name_of(ranked[i].path),
                          milliseconds(ranked[i].prediction.time_s));
  }
  return fmt::format("--ep-path auto: {} takes {}, predicted {} ({})\n", label, name_of(ranked.front().path),
                     milliseconds(ranked.front().prediction.time_s), others);
}

// Returns the paths that `auto` takes where it cannot choose, and why. Points of a wire have another default,
// so where there are several paths each is followed by its points.
std::string default_paths_line(const std::vector<Point>& points, const std::string& why) {
  std::vector<std::pair<Spread, std::string>> labels_of;
  for (const Point& point : points) {
    if (!point.path_is_auto) continue;
    const auto known = std::find_if(labels_of.begin(), labels_of.end(),
                                    [&](const auto& entry) { return entry.first == point.config.spread; });
    if (known == labels_of.end())
      labels_of.emplace_back(point.config.spread, point.label);
    else
      known->second += ", " + point.label;
  }
  if (labels_of.empty()) return "";
  std::string paths;
  for (const auto& [path, labels] : labels_of) {
    paths += fmt::format("{}{}", paths.empty() ? "" : "; ", name_of(path));
    if (labels_of.size() > 1) paths += fmt::format(" ({})", labels);
  }
  return fmt::format("--ep-path auto: {}, since {}\n", paths, why);
}

}  // namespace

ProbedHardware probed_hardware(const Environment& environment, const std::string& file) {
  const std::optional<Probe> probe = find_probe(file);
  if (!probe) return {std::nullopt, "there is no probe of this machine (moehill probe makes one)"};
  const std::string stale = stale_reason(*probe, environment);
  if (!is_of_machine(*probe, environment))
    return {std::nullopt, "the probe is stale: " + stale + " (moehill probe makes a new one)"};
  return {probe->hardware, stale.empty() ? "" : "the probe is stale: " + stale};
}

// Returns why a run cannot be predicted; "" if it can.
std::string unpredictable(const RunConfig& config) {
  if (config.block.backend != Backend::gmm) return "the probe has no speeds of the backend ragged_dot";
  if (config.block.prequeue) return "the model has no prequeued rows";
  if (config.block.router_product) return "the model does not have the router's own product";
  return "";
}

std::string incomparable(const RunConfig& config) {
  const std::string why = unpredictable(config);
  return why.empty() && config.block.route_in_step
             ? "the model has no stage of the router, which is in the step"
             : why;
}

// The model fills each node with as many devices as the probe's nodes have. If the run's nodes have another
// number, it would take devices of one node for devices of several, or the reverse.
std::string unlike_nodes(const RunConfig& config, const Hardware& hardware, int num_nodes) {
  if (config.num_devices == 1 || !hardware.topology.has_network()) return "";
  const int known = hardware.topology.devices_per_node;
  const int here = num_nodes > 1 ? config.ranks_per_node : config.num_devices;
  if (num_nodes > 1 ? here == known : here <= known) return "";
  return fmt::format("the probe knows {} a node, not {} (moehill probe, started like this, knows them)",
                     count_text(known, "device"), here);
}

Prediction predict_run(const RunConfig& config, const Routing& routing, const Hardware& hardware,
                       DeviceMemory memory) {
  const PlanCounts counts =
      plan_counts(config, config.placement.empty() ? routing : place(routing, {config.placement}));
  const Hardware shared = with_shared_cores(hardware, config.num_devices, config.threads_per_device);
  return predict(placed_problem(config, shared, memory), counts, shared, config.threads_per_device);
}

std::vector<Spread> candidate_paths(const RunConfig& config) {
  std::vector<Spread> paths;
  if (config.wire != Wire::native) return {Spread::ragged_a2a, Spread::fused, Spread::hierarchical};
  if (config.shape.form.latent == 0) paths = {Spread::compact_psum, Spread::dense_masked};
  // The other paths do not have a replicated shared expert.
  if (config.shared_placement == SharedPlacement::replicated) return paths;
  paths.insert(paths.end(), {Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused});
  // Within one node, `hierarchical` is ragged_a2a with a detour.
  if (config.ranks_per_node > 0 && config.ranks_per_node < config.num_devices)
    paths.push_back(Spread::hierarchical);
  return paths;
}

std::vector<RankedPath> rank_paths(RunConfig config, const Routing& routing, const Hardware& hardware,
                                   DeviceMemory memory) {
  std::vector<RankedPath> ranked;
  for (const Spread path : candidate_paths(config)) {
    config.spread = path;
    ranked.push_back({path, predict_run(config, routing, hardware, memory)});
  }
  std::stable_sort(ranked.begin(), ranked.end(), [](const RankedPath& a, const RankedPath& b) {
    return a.prediction.time_s < b.prediction.time_s;
  });
  return ranked;
}

BenchPredictions predict_points(const BenchOptions& options, const Environment& environment,
                                std::vector<Point>& points) {
  BenchPredictions result;
  result.points.resize(points.size());
  const ProbedHardware probed = probed_hardware(environment);
  const DeviceMemory memory = device_memory(options.mesh);
  // Where nothing can be predicted, `auto` takes the default path and says why.
  const std::string why_not = unpredictable_job(probed, environment);
  if (!why_not.empty()) {
    result.text = default_paths_line(points, why_not);
    return result;
  }
  for (size_t i = 0; i < points.size(); ++i) {
    Point& point = points[i];
    std::string why = unpredictable(point.config);
    if (why.empty()) why = unlike_nodes(point.config, *probed.hardware, environment.num_nodes);
    if (!why.empty()) {
      if (point.path_is_auto)
        result.text += fmt::format("--ep-path auto: {}, since {}\n", name_of(point.config.spread), why);
      continue;
    }
    const Routing routing =
        routing_of(point.config.shape, point.distribution, options.seed, point.config.block.capacity.spares);
    // `auto` becomes the path with the lowest predicted time, also in `points`, so that the run uses it.
    if (point.path_is_auto) {
      const std::vector<RankedPath> ranked = rank_paths(point.config, routing, *probed.hardware, memory);
      point.config.spread = ranked.front().path;
      result.text += choice_line(point.label, ranked);
    }
    result.points[i] = predict_run(point.config, routing, *probed.hardware, memory);
  }
  if (!result.text.empty() && !probed.note.empty()) result.text += probed.note + "\n";
  return result;
}

}  // namespace moehill
