#include "moehill/predict/simulated_step.h"

#include <algorithm>

#include "moehill/base/error.h"
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
  return part;
}

RunConfig config_of(const SimulateOptions& o, const SimulatedStep& step) {
  RunConfig config{.shape = o.shape, .spread = step.path, .num_devices = step.num_devices};
  config.shape.tokens = step.tokens;
  config.block.pass = o.pass;
  config.ranks_per_node = step.cluster.devices_per_node;
  // With --scaling the smallest sizes have one node.
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

}  // namespace

Routing RoutingSource::route(int64_t num_tokens, int64_t most_tokens, int num_devices) {
  DistributionOptions distribution = options_.distribution;
  distribution.devices = num_devices;
  // Where the load hangs on the devices, or which tokens are there on their number, fewer are not the first.
  const bool is_whole = distribution.kind == Distribution::hot_device || is_ragged(distribution);
  if (!is_whole && most_.num_tokens >= num_tokens) return first_tokens(most_, num_tokens);
  ThreadTeam team(std::max(1, detect_topology().num_cores));
  const MoeShape& shape = options_.shape;
  const auto make = [&](int64_t count) {
    const Router router =
        make_router(used_router(shape.router, distribution), count, shape.experts, shape.topk, options_.seed);
    return route_tokens(
        {distribution, router, count, num_logits(router.rule, shape.experts), shape.topk, 0, options_.seed},
        team);
  };
  if (is_whole) return make(num_tokens);
  most_ = make(std::max(num_tokens, most_tokens));
  return first_tokens(most_, num_tokens);
}

SimulatedStep simulate_step(const SimulateOptions& options, const Hardware& hardware, Spread path,
                            int num_devices, const Routing& routing) {
  SimulatedStep step;
  step.path = num_devices == 1 ? Spread::none : path;
  step.num_devices = num_devices;
  step.tokens = routing.num_tokens;
  step.cluster = make_cluster(hardware, num_devices, options.shape.dtype);
  describe_routing(options, routing, num_devices, &step);
  const RunConfig config = config_of(options, step);
  const PlanCounts counts = plan_counts(config, routing);
  const WorkProblem problem = work_problem(config);
  for (int d = 0; d < num_devices; ++d) {
    const DeviceWork work = device_work(problem, counts, d);
    const double weights = work.weight_bytes * (problem.backward ? 2 : 1);  // and their gradients
    step.memory_bytes = std::max(step.memory_bytes, weights + work.activation_bytes);
  }
  MoeShape shape = options.shape;
  shape.tokens = step.tokens;
  step.flops = model_flops(shape, options.pass, counts.num_kept);
  step.program = build_program(problem, counts, hardware);
  step.simulation =
      simulate(step.cluster, step.program, {.exact_devices = static_cast<int>(options.exact_devices)});
  MOEHILL_CHECK(step.simulation.delivered_bytes == step.program.total_bytes(), "{} of {} bytes arrived",
                step.simulation.delivered_bytes, step.program.total_bytes());
  step.critical = critical_path(step.program, step.simulation);
  return step;
}

}  // namespace moehill
