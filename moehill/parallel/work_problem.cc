// Implementation of parallel/work_problem.h.
#include "moehill/parallel/work_problem.h"

#include "moehill/parallel/path.h"
#include "moehill/parallel/row_route.h"
#include "moehill/routing/placement.h"

namespace moehill {

WorkProblem work_problem(const RunConfig& config) {
  const MoeShape& shape = config.shape;
  const BlockOptions& block = config.block;
  WorkProblem problem;
  problem.hidden = shape.hidden;
  problem.mlp_dim = shape.mlp_dim;
  problem.shared_dim = shape.shared_dim;
  problem.latent = shape.form.latent;
  problem.latent_norm = shape.form.latent_norm > 0;
  problem.dtype = shape.dtype;
  problem.spread = config.spread;
  problem.backward = block.pass == Pass::forward_backward;
  problem.gated = shape.form.activation.gated;
  problem.biases = shape.form.biases;
  problem.shared_gate = shape.form.shared_gate;
  problem.input_weighted = shape.router.input_weighted;
  problem.fused_w13 = has_fused_w13(block.impl);
  problem.shared_fused = block.shared_fused;
  problem.preweight = has_preweight(block.impl);
  problem.scatter = has_scatter(block.impl);
  problem.recompute = block.remat == Remat::expert_mlp;
  problem.dx_over_outputs = block.remat == Remat::combine;
  problem.prequeue = block.prequeue;
  problem.router_grad = block.router_grad;
  problem.wire = config.wire;
  problem.packs_rows = block.backend == Backend::ragged_dot;
  // The number of waves decides how much of the exchange the model may hide.
  if (problem.spread == Spread::fused) {
    problem.num_waves = config.num_waves > 0 ? config.num_waves : default_waves(config);
    problem.splits_rows = block_spec(config, 0).can_split_rows();
  }
  problem.shared_replicated =
      is_psum(config.spread) && config.shared_placement == SharedPlacement::replicated;
  problem.loss_counts = num_windows(block.balance_loss, shape.tokens) * shape.experts;
  const Placement placement{config.placement};
  if (num_copies(placement) > 0) problem.copies = copies_by_device(placement, config.num_devices);
  return problem;
}

WorkProblem placed_problem(const RunConfig& config, const Hardware& hardware, DeviceMemory memory) {
  const RunConfig placed = over_places(config);
  WorkProblem problem = work_problem(placed);
  const ClusterTopology& topology = hardware.topology;
  const bool one_node = !topology.has_network() || config.num_devices <= topology.devices_per_node;
  problem.in_place =
      memory == DeviceMemory::shared && one_node && !hardware.is_chip() && reads_in_place(placed);
  return problem;
}

Nodes nodes_of(const RunConfig& config) {
  const int of_node = config.ranks_per_node > 0 ? config.ranks_per_node : config.num_devices;
  return Nodes::of_size(config.num_devices, of_node);
}

PlanCounts plan_counts(const RunConfig& config, const Routing& placed, const Nodes& nodes) {
  // Counting by nodes costs time, so it is done only where the result depends on it.
  const bool asks_for_nodes = config.spread == Spread::hierarchical || config.wire != Wire::native;
  const int devices = config.num_devices;
  if (!asks_for_nodes) return count_plan(placed, config.block.capacity, devices);
  // A mesh on one node may have no list of its ranks (Nodes()), which counting on two levels needs.
  const bool has_ranks = nodes.most_ranks() > 0;
  return count_plan(placed, config.block.capacity, devices,
                    has_ranks ? nodes : Nodes::of_size(devices, devices));
}

}  // namespace moehill
