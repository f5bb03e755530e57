// Placement: which device has which experts, and copies of the busiest ones.
//
// Devices hold contiguous shares of places (base/partition.h), so a placement is the order of the experts in
// these, and a routing under it is the same routing with places for experts.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/plan.h"

namespace moehill {

struct Placement {
  std::vector<int32_t> expert;  // [places] whose weights a place has; each expert at one place at least
  int num_places() const { return static_cast<int>(expert.size()); }
};

// Expert e at place e: where no placement was made.
Placement contiguous_placement(int num_experts);

// `load`: assignments of each expert that are expected. First num_copies more places are given, one after the
// other, to the expert whose copies have the most each, as long as it is not on every device. Then the
// copies, by falling load, go to the device with the least load of those that have a free place and not that
// expert.
Placement greedy_placement(const std::vector<int64_t>& load, int num_devices, int num_copies = 0);

// Places experts in two steps: num_groups groups of neighbouring experts to the nodes, by falling load,
// equally many to each; then the experts of each node to its devices. A token whose groups are limited meets
// as few nodes as before. num_nodes divides both num_groups and num_devices, num_groups and num_devices
// divide the experts.
Placement hierarchical_placement(const std::vector<int64_t>& load, int num_devices, int num_nodes,
                                 int num_groups);

// The routing among places. The copies of an expert take its tokens in turn.
Routing place(const Routing& routing, const Placement& placement);

// Experts whose weights each device has under `to` and not under `from`: what it receives. [devices]
std::vector<int64_t> received_experts(const Placement& from, const Placement& to, int num_devices);

}  // namespace moehill
