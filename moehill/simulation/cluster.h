// Cluster is the machine on which a step is simulated: nodes of several devices, joined by a network. It is
// made from a hardware file and holds only what the simulator needs: no caches, no kernels.
//
//     const Cluster cluster = make_cluster(hardware, /*num_devices=*/256, DType::bf16);
//     describe(cluster);   // "32 nodes of 8 devices, fat tree: 6 leaf switches of 6 nodes, 6 spines"
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "moehill/model/hardware.h"

namespace moehill {

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

// LinkSpeed is the speed of one link.
struct LinkSpeed {
  double latency_s = 0;
  double bytes_per_s = 0;  // in each direction
};

// Cluster describes devices, the links inside of nodes, and the network.
struct Cluster {
  TopologyKind kind = TopologyKind::node;
  int num_devices = 1;
  int devices_per_node = 1;
  double device_flops = 1;  // FLOP/s; converts seconds of work to SimGrid's unit
  // A device's own link to the other devices of its node. The latency is for one message.
  LinkSpeed inside;
  // The connection of a node, and the links above it. In a fat tree and in a dragonfly a message crosses at
  // most two of each, so a link has half of the latency of its level. In a torus each hop has the full
  // latency.
  LinkSpeed network, upper;
  std::vector<int> dims;  // as in the hardware file; empty: by the number of nodes

  int num_nodes() const { return ceil_div(num_devices, devices_per_node); }
  int node_of(int device) const { return device / devices_per_node; }
  // The last node may have fewer devices than the others.
  int devices_of(int node) const { return std::min(devices_per_node, num_devices - node * devices_per_node); }
};

// Takes the first `num_devices` devices of the hardware. Throws InputError for more devices than it has room
// for, and for a dragonfly with more groups than routers of a group.
Cluster make_cluster(const Hardware& hardware, int num_devices, DType dtype);

// The next three functions give networks with room for all nodes of the cluster.
struct FatTreeShape {
  int nodes_per_leaf = 1, num_leaves = 1, num_spines = 1;  // each leaf has one link to each spine
};
FatTreeShape fat_tree_shape(const Cluster& cluster);
// Returns the given extents; without any, three extents that are as equal as possible.
std::vector<int> torus_shape(const Cluster& cluster);
// SimGrid joins groups through the routers of their first chassis. So there can be at most as many groups as
// a chassis has routers.
struct DragonflyShape {
  int groups = 1, chassis = 1, routers = 1, nodes = 1;
};
DragonflyShape dragonfly_shape(const Cluster& cluster);

// Returns for example "140 nodes of 8 devices, fat tree: 7 leaf switches of 20 nodes, 20 spines".
std::string describe(const Cluster& cluster);

}  // namespace moehill
