#include "moehill/model/flight.h"

namespace moehill {

bool rows_fly(const WorkProblem& problem, const ClusterTopology& topology, bool is_chip, int num_devices) {
  return num_devices > 1 && !problem.in_place && (is_chip || num_devices > topology.devices_per_node);
}

// As parallel/ragged_path.cc and gather_path.cc have them, which are on a higher floor.
std::vector<Meanwhile> work_meanwhile(const WorkProblem& problem, std::string_view stage) {
  const bool sharded = problem.spread == Spread::ring_ag_rs || problem.spread == Spread::ragged_a2a ||
                       problem.spread == Spread::fused;
  if (!sharded) return {};
  const bool splits = problem.spread == Spread::fused && problem.fused_w13 && !problem.scatter &&
                      !problem.recompute && !problem.packs_rows;
  std::vector<Meanwhile> work;
  if (stage == "dispatch" && splits) work = {{"up", true}};
  if (stage == "dispatch" && !splits) work = {{"shared", false}};
  if (stage == "reduce" && splits) work = {{"down", true}, {"shared", false}};
  if (stage == "dispatch_grad") work = {{"shared_grad", false}};
  if (stage == "dispatch_grad" && splits) work.push_back({"down_grad", true});
  if (stage == "reduce_grad" && !problem.recompute) work = {{"w2_grad", false}, {"w13_grad", false}};
  return work;
}

}  // namespace moehill
