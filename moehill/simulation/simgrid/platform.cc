// Implementation of simulation/simgrid/platform.h: a zone of SimGrid for each kind of network, a loopback for
// each node, and the speeds of the links.
#include "moehill/simulation/simgrid/platform.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

namespace moehill {
namespace {

namespace sg4 = simgrid::s4u;

constexpr double kLeastLatency = 1e-9;  // SimGrid shares bandwidth by 1 / latency, so it may not be zero
constexpr auto kDuplex = sg4::Link::SharingPolicy::SPLITDUPLEX;

unsigned int u(int n) { return static_cast<unsigned int>(n); }

// PlatformMaker builds the hosts and links of one cluster.
class PlatformMaker {
 public:
  explicit PlatformMaker(const Cluster& cluster) : cluster_(cluster) {}

  Platform make() {
    make_zone();
    set_upper_links();
    return std::move(platform_);
  }

 private:
  void make_zone() {
    const bool torus = cluster_.kind == TopologyKind::torus;
    const double latency = std::max(kLeastLatency, cluster_.network.latency_s / (torus ? 1 : 2));
    const double bandwidth = cluster_.network.bytes_per_s;
    switch (cluster_.kind) {
      case TopologyKind::node:
        return make_node();
      case TopologyKind::fat_tree: {
        const FatTreeShape s = fat_tree_shape(cluster_);
        const sg4::FatTreeParams shape(2, {u(s.nodes_per_leaf), u(s.num_leaves)}, {1, u(s.num_spines)},
                                       {1, 1});
        sg4::create_fatTree_zone("net", nullptr, shape, callbacks(), bandwidth, latency, kDuplex)->seal();
        return;
      }
      case TopologyKind::torus: {
        // A ring of one node would link the node to itself, and SimGrid refuses two links of one name.
        std::vector<unsigned long> rings;
        for (const int length : torus_shape(cluster_)) {
          if (length > 1) rings.push_back(u(length));
        }
        if (rings.empty()) rings = {1};
        sg4::create_torus_zone("net", nullptr, rings, callbacks(), bandwidth, latency, kDuplex)->seal();
        return;
      }
      case TopologyKind::dragonfly: {
        const DragonflyShape s = dragonfly_shape(cluster_);
        const sg4::DragonflyParams shape({u(s.groups), 1}, {u(s.chassis), 1}, {u(s.routers), 1}, u(s.nodes));
        sg4::create_dragonfly_zone("net", nullptr, shape, callbacks(), bandwidth, latency, kDuplex)->seal();
        return;
      }
    }
  }

  sg4::ClusterCallbacks callbacks() {
    using Netpoint = simgrid::kernel::routing::NetPoint;
    const auto host = [this](sg4::NetZone* zone, const std::vector<unsigned long>&, unsigned long) {
      return std::pair<Netpoint*, Netpoint*>{add_host(zone)->get_netpoint(), nullptr};
    };
    const auto inside = [this](sg4::NetZone* zone, const std::vector<unsigned long>&, unsigned long id) {
      return loopback(zone, id);
    };
    return {host, inside, {}};
  }

  void make_node() {
    sg4::NetZone* zone = sg4::create_full_zone("net");
    sg4::Host* host = add_host(zone);
    zone->add_route(host->get_netpoint(), host->get_netpoint(), nullptr, nullptr,
                    {sg4::LinkInRoute(loopback(zone, 0))}, false);
    zone->seal();
  }

  sg4::Host* add_host(sg4::NetZone* zone) {
    sg4::Host* host = zone->create_host(fmt::format("node{}", platform_.hosts.size()), cluster_.device_flops);
    host->set_core_count(cluster_.devices_per_node)->seal();
    platform_.hosts.push_back(host);
    return host;
  }

  sg4::Link* loopback(sg4::NetZone* zone, unsigned long node) {
    sg4::Link* link = zone->create_link(fmt::format("inside_node{}", node), cluster_.inside.bytes_per_s);
    platform_.node_of_loopback[link] = static_cast<int>(node);
    // A FATPIPE link does not share its bandwidth: each flow has all of it.
    link->set_sharing_policy(sg4::Link::SharingPolicy::FATPIPE);
    link->set_latency(std::max(cluster_.inside.latency_s, kLeastLatency))->seal();
    return link;
  }

  // A SimGrid zone makes all its links alike. This function finds the links between switches by the names
  // that SimGrid gives them, and sets them to the speed of the upper level. In a fat tree, switches have
  // negative numbers; in a dragonfly only the links of nodes are local.
  void set_upper_links() const {
    for (sg4::Link* link : sg4::Engine::get_instance()->get_all_links()) {
      const std::string& name = link->get_name();
      const bool tree = cluster_.kind == TopologyKind::fat_tree && name.starts_with("link_from_-");
      const bool fly = cluster_.kind == TopologyKind::dragonfly && !name.starts_with("local_link") &&
                       !platform_.node_of_loopback.contains(link);
      if (!tree && !fly) continue;
      link->set_bandwidth(cluster_.upper.bytes_per_s);
      link->set_latency(std::max(kLeastLatency, cluster_.upper.latency_s / 2));
    }
  }

  const Cluster& cluster_;
  Platform platform_;
};

}  // namespace

Platform make_platform(const Cluster& cluster) { return PlatformMaker(cluster).make(); }

}  // namespace moehill
