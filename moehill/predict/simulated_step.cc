// Implements simulated_step.h: routes the tokens, counts the rows of the plan, builds the program, simulates
// it and collects the figures.
#include "moehill/predict/simulated_step.h"

#include <algorithm>

#include "moehill/base/error.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/memory.h"
#include "moehill/machine/topology.h"
#include "moehill/parallel/work_problem.h"
#include "moehill/routing/route_tokens.h"
#include "moehill/simulation/program_builder.h"

namespace moehill {
namespace {

Routing first_tokens(const Routing& routing, int64_t num_tokens) {
  Routing part{num_tokens, routing.num_experts, routing.topk, {}, {}};
  const int64_t assignments = num_tokens * routing.topk;
  part.expert.assign(routing.expert.begin(), routing.expert.begin() + assignments);
  part.weight.assign(routing.weight.begin(), routing.weight.begin() + assignments);
  part.num_zero_experts = routing.num_zero_experts;
  if (!routing.zero.empty()) part.zero.assign(routing.zero.begin(), routing.zero.begin() + assignments);
  return part;
}

RunConfig config_of(const SimulateOptions& o, Spread path, int64_t tokens, int num_devices,
                    int devices_per_node) {
  RunConfig config{.shape = o.shape, .spread = path, .num_devices = num_devices};
  config.shape.tokens = tokens;
  config.block.pass = o.pass;
  config.ranks_per_node = devices_per_node;
  // With --scaling the smallest sizes have one node, within which rows keep their type.
  if (config.ranks_per_node < config.num_devices) config.wire = o.wire;
  return config;
}

void describe_routing(const SimulateOptions& o, const Routing& routing, int num_devices,
                      SimulatedStep* step) {
  DistributionOptions distribution = o.distribution;
  distribution.devices = num_devices;
  const std::vector<int64_t> load = expert_load(routing);
  require_properties(distribution, routing, o.seed);
  step->skew = skew_properties(distribution, routing, o.seed);
  step->load = load_statistics(load);
  step->expert_max_over_mean = max_over_mean(load);
  step->device_max_over_mean = max_over_mean(device_load(load, num_devices));
}

MessageOptions message_options(const SimulateOptions& o, const Cluster& cluster) {
  const int automatic =
      group_size(cluster.num_devices, cluster.devices_per_node, static_cast<int>(o.exact_devices));
  return {.group = o.grouping > 0 ? static_cast<int>(o.grouping) : automatic, .form = o.form};
}

}  // namespace

const Routing& RoutingSource::route(int64_t num_tokens, int64_t most_tokens, int num_devices,
                                    const SimulationProgress& progress) {
  DistributionOptions distribution = options_.distribution;
  distribution.devices = num_devices;
  // A distribution may depend on the devices (a hot device) or on the number of tokens (ragged tokens). Then
  // the first tokens of a larger routing are not the routing of fewer tokens.
  const bool is_whole = distribution.kind == Distribution::hot_device || is_ragged(distribution);
  if (is_whole || most_.num_tokens < num_tokens) {
    ThreadTeam team(std::max(1, detect_topology().num_cores));
    const MoeShape& shape = options_.shape;
    const int64_t count = is_whole ? num_tokens : std::max(num_tokens, most_tokens);
    const Router router =
        make_router(used_router(shape.router, distribution), count, shape.experts, shape.topk, options_.seed);
    most_ = route_tokens({.distribution = distribution,
                          .router = router,
                          .num_tokens = count,
                          .num_logits = num_logits(router.rule, shape.experts),
                          .topk = shape.topk,
                          .seed = options_.seed,
                          .progress = progress},
                         team);
  }
  if (most_.num_tokens == num_tokens) return most_;
  return asked_ = first_tokens(most_, num_tokens);
}

SimulatedStep simulate_step(const SimulateOptions& options, const Hardware& hardware, Spread path,
                            int num_devices, const Routing& routing, const SimulationProgress& progress) {
  const double begin = seconds();
  SimulatedStep step;
  step.path = num_devices == 1 ? Spread::none : path;
  step.form = options.form;
  step.num_devices = num_devices;
  step.units_per_device = hardware.units_per_device;
  step.tokens = routing.num_tokens;
  step.experts = routing.num_experts;
  step.cluster = make_cluster(hardware, num_devices, options.shape.dtype);
  describe_routing(options, routing, num_devices, &step);
  // The exact counts of the plan say how many rows each pair of devices exchanges.
  const RunConfig config =
      config_of(options, step.path, step.tokens, num_devices, step.cluster.devices_per_node);
  step.wire = config.wire;
  const PlanCounts counts = plan_counts(config, routing);
  step.assignments = counts.num_kept;
  const WorkProblem problem = placed_problem(config, hardware);
  MoeShape shape = options.shape;
  shape.tokens = step.tokens;
  step.flops = model_flops(shape, options.pass, counts.num_kept);
  step.program = build_program(problem, counts, hardware, message_options(options, step.cluster));
  step.memory_bytes = step.program.memory_bytes;
  const double planned = seconds();
  step.simulation = simulate(step.cluster, step.program, progress);
  // No byte may be lost in the simulation, or its times would be too short.
  MOEHILL_CHECK(step.simulation.delivered_bytes == step.program.total_bytes(), "{} of {} bytes arrived",
                step.simulation.delivered_bytes, step.program.total_bytes());
  step.critical = critical_path(step.program, step.simulation);
  // The flows of many devices take much memory, and reports need only the stages.
  step.program.forget_flows();
  step.plan_s = planned - begin;
  step.simulate_s = seconds() - planned;
  step.peak_rss_bytes = std::max(peak_rss_bytes(), step.simulation.peak_rss_bytes);
  return step;
}

void refuse_impossible_messages(const SimulateOptions& o, const Hardware& hardware) {
  const int num_devices = static_cast<int>(o.devices);
  const int per_node = make_cluster(hardware, num_devices, o.shape.dtype).devices_per_node;
  if (o.grouping > 1 && o.grouping % per_node != 0) {
    throw input_error("--grouping", std::to_string(o.grouping),
                      fmt::format("1, or whole nodes of {} devices of {}", per_node, hardware.name),
                      fmt::format("use --grouping {}", (o.grouping + per_node - 1) / per_node * per_node));
  }
  // If paths are compared, a form is allowed even if it leaves some of them unchanged.
  if (o.compare_paths) return;
  const WorkProblem problem =
      placed_problem(config_of(o, o.path, o.tokens_at(o.devices), num_devices, per_node), hardware);
  refuse_form_without_effect(problem, o.form, num_devices, per_node);
}

}  // namespace moehill
