// A Cluster as a SimGrid platform.
#pragma once

#include <simgrid/s4u.hpp>
#include <vector>

#include "moehill/simulation/cluster.h"

namespace moehill {

// One host a node, with a core for each device. Messages inside a node take its loopback, where each flow has
// the bandwidth of one device's way: a device sends one message at a time. The order of hosts is that of
// nodes.
std::vector<simgrid::s4u::Host*> make_platform(const Cluster& cluster);

}  // namespace moehill
