// Plan counts: what a routing asks of P devices, in numbers of rows. All that the model needs of a plan.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/mesh/nodes.h"
#include "moehill/routing/plan.h"

namespace moehill {

struct PlanCounts {
  int64_t tokens = 0;
  int experts = 0, topk = 0, num_devices = 1;
  int64_t num_kept = 0;       // assignments that the capacity leaves
  int64_t capacity_rows = 0;  // C; 0 without a capacity
  bool pads = false;          // every expert computes C rows
  Capacity capacity{};
  std::vector<int64_t> kept;        // [E] kept assignments of an expert
  std::vector<int64_t> local_kept;  // [P, E] the same among the tokens of device p
  // [P, P] rows that the tokens of device `from` send to device `to`: its tokens with a kept expert there,
  // each once.
  std::vector<int64_t> pairs;
  // For the two-level exchange, where nodes were asked for: [P, nodes] tokens of a device with a kept expert
  // in a node; [P, devices_per_node] rows from where those land to the places of the same node, itself
  // included.
  Nodes nodes;
  std::vector<int64_t> node_rows, inside;

  int64_t rows_received(int device) const;  // of tokens, each once; the device's own among them
  int64_t rows_computed(int device) const;  // assignments to the device's experts
  int64_t rows_of_expert(int e) const { return pads ? capacity_rows : kept[static_cast<size_t>(e)]; }
  int64_t local_rows(int device, int e) const {
    const size_t i = static_cast<size_t>(device) * static_cast<size_t>(experts) + static_cast<size_t>(e);
    return pads ? capacity_rows : local_kept[i];
  }
  int64_t pair_rows(int from, int to) const {
    return pairs[static_cast<size_t>(from) * static_cast<size_t>(num_devices) + static_cast<size_t>(to)];
  }
  // Rows of the two levels: across the nodes, once a node, and on from there inside of one.
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

// Tokens and experts in contiguous shares (base/partition.h). nodes: those of which to count too, with their
// ranks; Nodes(): none. O(A + P E + P^2).
PlanCounts count_plan(const Routing& routing, const Capacity& capacity, int num_devices,
                      const Nodes& nodes = {});

}  // namespace moehill
