// Plan counts are the numbers of rows that a routing gives P devices. The model needs nothing else of a plan,
// so it can predict devices that do not exist.
//
//   const PlanCounts counts = count_plan(routing, capacity, 8);
//   counts.pair_rows(0, 3);   // rows from device 0 to device 3
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/nodes.h"
#include "moehill/routing/plan.h"

namespace moehill {

// PlanCounts are the counts for E experts and P devices.
struct PlanCounts {
  int64_t tokens = 0;
  int experts = 0, topk = 0, num_devices = 1;
  int64_t num_kept = 0;       // assignments that the capacity keeps
  int64_t capacity_rows = 0;  // C; 0 without a capacity
  bool pads = false;          // every expert computes exactly C rows
  Capacity capacity{};
  std::vector<int64_t> kept;        // [E] kept assignments of each expert
  std::vector<int64_t> local_kept;  // [P, E] kept assignments of each device's tokens
  // [P, P] rows that device `from` sends to device `to`: its tokens that have a kept expert there, each
  // counted once.
  std::vector<int64_t> pairs;
  // For the exchange on two levels, if nodes were given: [P, nodes] tokens of a device with a kept expert on
  // a node; [P, devices of a node] rows from the device where they land to the devices of the same node,
  // itself included.
  Nodes nodes;
  std::vector<int64_t> node_rows, inside;

  int64_t rows_received(int device) const;  // rows of tokens, each once, including the device's own
  int64_t rows_computed(int device) const;  // assignments to the device's experts
  int64_t rows_of_expert(int e) const { return pads ? capacity_rows : kept[static_cast<size_t>(e)]; }
  int64_t local_rows(int device, int e) const {
    const size_t i = static_cast<size_t>(device) * static_cast<size_t>(experts) + static_cast<size_t>(e);
    return pads ? capacity_rows : local_kept[i];
  }
  int64_t pair_rows(int from, int to) const {
    return pairs[static_cast<size_t>(from) * static_cast<size_t>(num_devices) + static_cast<size_t>(to)];
  }
  // Rows of the two levels: between nodes (once for each node), and from there on within the node.
  int64_t across_rows(int from, int to) const {
    const int node = nodes.of(to);
    if (nodes.landing_rank(from, node) != to) return 0;
    return node_rows[static_cast<size_t>(from) * static_cast<size_t>(nodes.num()) +
                     static_cast<size_t>(node)];
  }
  int64_t inside_rows(int from, int to) const {
    if (nodes.of(from) != nodes.of(to)) return 0;
    return inside[static_cast<size_t>(from) * static_cast<size_t>(nodes.most_ranks()) +
                  static_cast<size_t>(nodes.place(to))];
  }
};

// Counts a routing with tokens and experts in contiguous shares (base/partition.h). nodes: if given, rows of
// the two levels are counted too. Takes time O(A + P E + P^2).
PlanCounts count_plan(const Routing& routing, const Capacity& capacity, int num_devices,
                      const Nodes& nodes = {});

}  // namespace moehill
