// Implementation of simulation/cluster.h. If the hardware file gives no extents for a network, this file
// chooses them so that the network is as square as possible.
#include "moehill/simulation/cluster.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

LinkSpeed speed_of(const LinkLevel& level) { return {level.latency_s, level.bytes_per_s}; }

// Throws InputError for a dragonfly that SimGrid cannot join.
void refuse_too_many_groups(const Hardware& hardware) {
  const std::vector<int>& dims = hardware.topology.dims;
  if (hardware.topology.kind != TopologyKind::dragonfly || dims.size() < 2 || dims[0] <= dims[1]) return;
  throw input_error(fmt::format("dims of {}", hardware.name), fmt::format("{} groups", dims[0]),
                    fmt::format("at most {}, the routers of a group, each of which joins one", dims[1]),
                    "correct the file, or leave dims out");
}

}  // namespace

Cluster make_cluster(const Hardware& hardware, int num_devices, DType dtype) {
  const ClusterTopology& topology = hardware.topology;
  const bool one_node = !topology.has_network();
  require_devices(hardware, num_devices);
  refuse_too_many_groups(hardware);
  MOEHILL_CHECK(!topology.levels.empty(), "hardware {} without links", hardware.name);
  Cluster cluster;
  cluster.kind = one_node ? TopologyKind::node : topology.kind;
  cluster.num_devices = num_devices;
  cluster.devices_per_node = topology.devices_per_node;
  cluster.device_flops = hardware.units_per_device * hardware.peak(dtype);
  cluster.inside = speed_of(topology.levels[0]);
  cluster.network = one_node ? cluster.inside : speed_of(topology.levels[1]);
  // Hardware without a third level gets upper links as fast as the network, without latency of their own.
  cluster.upper =
      topology.levels.size() > 2 ? speed_of(topology.levels[2]) : LinkSpeed{0, cluster.network.bytes_per_s};
  cluster.dims = topology.dims;
  return cluster;
}

FatTreeShape fat_tree_shape(const Cluster& cluster) {
  const int num_nodes = cluster.num_nodes();
  const int per_leaf =
      cluster.dims.empty() ? std::max(1, static_cast<int>(std::ceil(std::sqrt(num_nodes)))) : cluster.dims[0];
  return {per_leaf, ceil_div(num_nodes, per_leaf), cluster.dims.size() > 1 ? cluster.dims[1] : per_leaf};
}

std::vector<int> torus_shape(const Cluster& cluster) {
  if (!cluster.dims.empty()) return cluster.dims;
  const int num_nodes = cluster.num_nodes();
  // The small constant keeps exact roots from being rounded down.
  const int x = std::max(1, static_cast<int>(std::cbrt(num_nodes) + 1e-9));
  const int rest = ceil_div(num_nodes, x);
  const int y = std::max(1, static_cast<int>(std::sqrt(rest) + 1e-9));
  return {x, y, ceil_div(rest, y)};
}

DragonflyShape dragonfly_shape(const Cluster& cluster) {
  const std::vector<int>& dims = cluster.dims;
  if (!dims.empty()) return {.groups = dims[0], .chassis = 1, .routers = dims[1], .nodes = dims[2]};
  const int num_nodes = cluster.num_nodes();
  DragonflyShape shape;
  shape.nodes = std::min(4, num_nodes);
  const int num_routers = ceil_div(num_nodes, shape.nodes);
  shape.routers = std::max(1, static_cast<int>(std::ceil(std::cbrt(num_routers) - 1e-9)));
  shape.groups = std::min(shape.routers, num_routers);
  shape.chassis = ceil_div(num_routers, shape.routers * shape.groups);
  return shape;
}

std::string describe(const Cluster& cluster) {
  const std::string nodes = fmt::format("{} of {}", count_text(cluster.num_nodes(), "node"),
                                        count_text(cluster.devices_per_node, "device"));
  switch (cluster.kind) {
    case TopologyKind::node:
      return nodes;
    case TopologyKind::fat_tree: {
      const FatTreeShape s = fat_tree_shape(cluster);
      return fmt::format("{}, fat tree: {} of {}, {}", nodes,
                         count_text(s.num_leaves, "leaf switch", "leaf switches"),
                         count_text(s.nodes_per_leaf, "node"), count_text(s.num_spines, "spine"));
    }
    case TopologyKind::torus:
      return fmt::format("{}, torus {}", nodes, fmt::join(torus_shape(cluster), " x "));
    case TopologyKind::dragonfly: {
      const DragonflyShape s = dragonfly_shape(cluster);
      return fmt::format("{}, dragonfly: {} of {} x {} of {}", nodes, count_text(s.groups, "group"),
                         s.chassis, count_text(s.routers, "router"), count_text(s.nodes, "node"));
    }
  }
  return nodes;
}

}  // namespace moehill
