// This header translates a run's configuration for the performance model (model/work.h), which knows no
// options of blocks. It predicts nothing itself.
//
//     const WorkProblem problem = work_problem(config);
//     const PlanCounts counts = plan_counts(config, routing);   // rows by device, as this routing has them
#pragma once

#include "moehill/block/run_config.h"
#include "moehill/model/work.h"

namespace moehill {

WorkProblem work_problem(const RunConfig& config);
// Returns the nodes of the config's devices, with ranks_per_node devices on each; 0: one node.
Nodes nodes_of(const RunConfig& config);
// Counts the rows of a routing among the config's places.
PlanCounts plan_counts(const RunConfig& config, const Routing& placed, const Nodes& nodes);
inline PlanCounts plan_counts(const RunConfig& config, const Routing& placed) {
  return plan_counts(config, placed, nodes_of(config));
}

}  // namespace moehill
