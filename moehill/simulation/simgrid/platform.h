// This header makes a SimGrid platform of a Cluster: hosts, links and routes. It puts no work on them;
// engine.cc does. These two are the only files that include SimGrid.
//
//   const Platform platform = make_platform(make_cluster(hardware, 256, DType::bf16));
//   platform.hosts[2];   // the third node
#pragma once

#include <map>
#include <simgrid/s4u.hpp>
#include <vector>

#include "moehill/simulation/cluster.h"

namespace moehill {

// Platform has one host for each node, in the order of nodes, with a core for each device. Messages inside of
// a node take its loopback. Each flow has the bandwidth of one device there, since a device sends one message
// at a time.
struct Platform {
  std::vector<simgrid::s4u::Host*> hosts;
  std::map<const simgrid::s4u::Link*, int> node_of_loopback;
};
Platform make_platform(const Cluster& cluster);

}  // namespace moehill
