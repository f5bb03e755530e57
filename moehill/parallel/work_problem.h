// A run's configuration in the words of the model.
#pragma once

#include "moehill/block/run_config.h"
#include "moehill/model/work.h"

namespace moehill {

WorkProblem work_problem(const RunConfig& config);
// The nodes that the config's devices pass for.
Nodes nodes_of(const RunConfig& config);
// Counts the rows of a routing among the config's places.
PlanCounts plan_counts(const RunConfig& config, const Routing& placed, const Nodes& nodes);
inline PlanCounts plan_counts(const RunConfig& config, const Routing& placed) {
  return plan_counts(config, placed, nodes_of(config));
}

}  // namespace moehill
