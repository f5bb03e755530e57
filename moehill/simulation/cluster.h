// Cluster: what a step is simulated on: nodes of k devices, joined by a network.
#pragma once

#include <string>
#include <vector>

#include "moehill/model/hardware.h"

namespace moehill {

inline int ceil_div(int a, int b) { return (a + b - 1) / b; }

struct LinkSpeed {
  double latency_s = 0;
  double bytes_per_s = 0;  // each direction
};

struct Cluster {
  TopologyKind kind = TopologyKind::node;
  int num_devices = 1;
  int devices_per_node = 1;
  double device_flops = 1;  // FLOP/s that a second of work stands for
  LinkSpeed inside;         // a device's own way to the others of its node; the latency of a message
  // A node's connection, and the links above it. In a fat tree and a dragonfly a message crosses two of
  // each at most, so a link has half of the level's latency; in a torus every hop has all of it.
  LinkSpeed network, upper;
  std::vector<int> dims;  // as in the hardware file; empty: by the number of nodes

  int num_nodes() const { return ceil_div(num_devices, devices_per_node); }
  int node_of(int device) const { return device / devices_per_node; }
};

// The first `num_devices` devices of the hardware. Throws InputError for more than it has room for.
Cluster make_cluster(const Hardware& hardware, int num_devices, DType dtype);

// Shapes with room for all nodes.
struct FatTreeShape {
  int nodes_per_leaf = 1, num_leaves = 1, num_spines = 1;  // a leaf has one link to each spine
};
FatTreeShape fat_tree_shape(const Cluster& cluster);
// The given extents if they have room, else three that are as alike as may be.
std::vector<int> torus_shape(const Cluster& cluster);
// SimGrid joins groups through the routers of their first chassis, so there are at most as many groups as
// routers in a chassis.
struct DragonflyShape {
  int groups = 1, chassis = 1, routers = 1, nodes = 1;
};
DragonflyShape dragonfly_shape(const Cluster& cluster);

// "fat tree of 7 x 20 nodes under 20 spines, 8 devices a node".
std::string describe(const Cluster& cluster);

}  // namespace moehill
