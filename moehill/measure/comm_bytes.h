// The least that expert or data parallelism must move, as a yardstick for what a path does move.
#pragma once

#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/mesh/group.h"
#include "moehill/model/plan_counts.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// The least bytes that expert parallelism can move, all devices together; 0 with one device. Tokens and the
// places of the experts, among which the routing is, lie in contiguous shares. Tokens and
// experts lie in contiguous shares over P devices: each token's row of H values must reach every other device
// that holds one of its kept experts, and one row of partial sums must come back; a backward pass does the
// same with gradients.
int64_t comm_lower_bound_bytes(const BlockTensors& tensors, const Routing& placed, Pass pass,
                               int num_devices);

// Bytes by level: between devices of one node, and between nodes.
struct LevelBytes {
  int64_t node = 0, network = 0;
};
// Row bytes of a step of all devices, if each token's row went by itself to each other device that holds one
// of its kept experts, and a sum came back, as on ragged_a2a.
LevelBytes logical_row_bytes(const RunConfig& config, const PlanCounts& counts, const Nodes& nodes);

// A line about the levels where there are several nodes; else nothing.
std::string level_line(const std::string& label, const std::vector<Traffic>& traffic, const Nodes& nodes,
                       const LevelBytes& logical);
// A line about messages that travelled while devices worked; without any, nothing.
std::string flight_line(const std::vector<Traffic>& traffic);

// The least bytes of data parallelism, with tokens in shares and all weights on every device: an all-reduce
// of the weights' gradients, 2 (P - 1) times their bytes; nothing forward.
int64_t data_parallel_lower_bound_bytes(const MoeShape& shape, Pass pass, int num_devices);

}  // namespace moehill
