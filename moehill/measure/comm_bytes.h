// This header computes the fewest bytes that expert or data parallelism has to move. They stand beside the
// bytes that a path really moves, which Traffic (mesh/group.h) counts.
//
//     const int64_t least = comm_lower_bound_bytes(tensors, placed, Pass::forward, num_devices);
//     const double share = static_cast<double>(sent_bytes) / static_cast<double>(least);   // 1 is perfect
#pragma once

#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/mesh/group.h"
#include "moehill/model/plan_counts.h"
#include "moehill/moe/tensors.h"

namespace moehill {

// Returns the fewest bytes that expert parallelism can move, all devices together; 0 with one device. Tokens
// and places of experts lie in contiguous shares on P devices. Each token's row of H values has to reach
// every other device that holds one of its kept experts, and one row of partial sums has to come back. A
// backward pass does the same with gradients. `placed` has the places to which the assignments really go. All
// rows count as they are stored, whatever the wire is.
int64_t comm_lower_bound_bytes(const BlockTensors& tensors, const Routing& placed, Pass pass,
                               int num_devices);

// LevelBytes are bytes between devices of one node, and between nodes.
struct LevelBytes {
  int64_t node = 0, network = 0;
};
// Returns the bytes of a step's rows, all devices together, as if each token's row travelled by itself to
// each other device that holds one of its kept experts, and a sum came back. The path ragged_a2a does that.
LevelBytes logical_row_bytes(const RunConfig& config, const PlanCounts& counts, const Nodes& nodes);

// Returns a line about the levels if there are several nodes, otherwise nothing.
std::string level_line(const std::string& label, const std::vector<Traffic>& traffic, const Nodes& nodes,
                       const LevelBytes& logical);
// Returns a line about messages that travelled while devices worked; nothing if there were none.
std::string flight_line(const std::vector<Traffic>& traffic);

// Returns the fewest bytes of data parallelism, with tokens in shares and all weights on every device: an
// all-reduce of the weight gradients, which is 2 (P - 1) times their bytes; nothing in the forward pass.
int64_t data_parallel_lower_bound_bytes(const MoeShape& shape, Pass pass, int num_devices);

}  // namespace moehill
