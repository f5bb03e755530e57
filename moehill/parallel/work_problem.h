// This header translates a run's configuration for the performance model (model/work.h), which does not know
// the options of a block. It predicts nothing itself.
//
//     const WorkProblem problem = placed_problem(config, hardware);
//     const PlanCounts counts = plan_counts(config, routing);   // rows by device, as this routing has them
#pragma once

#include "moehill/block/run_config.h"
#include "moehill/model/work.h"

namespace moehill {

// Returns the problem of the experts of the config. It assumes that rows are copied and not read in place.
WorkProblem work_problem(const RunConfig& config);

// DeviceMemory tells whether the devices of a node are threads of one process (`shared`), which `fused` and
// ring_ag_rs make use of, or processes (`apart`).
enum class DeviceMemory { shared, apart };
inline DeviceMemory device_memory(MeshKind mesh) {
  return mesh == MeshKind::mpi ? DeviceMemory::apart : DeviceMemory::shared;
}
// Returns the problem of the places of the config on this hardware. Within one node, paths that pull rows
// read them in place if the devices share memory and are cores of CPUs.
WorkProblem placed_problem(const RunConfig& config, const Hardware& hardware,
                           DeviceMemory memory = DeviceMemory::shared);
// Returns the nodes of the config's devices, with ranks_per_node devices on each; 0: one node.
Nodes nodes_of(const RunConfig& config);
// Counts the rows of a routing among the config's places.
PlanCounts plan_counts(const RunConfig& config, const Routing& placed, const Nodes& nodes);
inline PlanCounts plan_counts(const RunConfig& config, const Routing& placed) {
  return plan_counts(config, placed, nodes_of(config));
}

}  // namespace moehill
