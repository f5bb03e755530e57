// Makes a SimGrid platform of a Cluster. This and engine.cc are the only files that include SimGrid.
#pragma once

#include <simgrid/s4u.hpp>
#include <vector>

#include "moehill/simulation/cluster.h"

namespace moehill {

// Returns one host for each node, in the order of nodes, with a core for each device. Messages inside of a
// node take its loopback. Each flow has the bandwidth of one device there, since a device sends one message
// at a time.
std::vector<simgrid::s4u::Host*> make_platform(const Cluster& cluster);

}  // namespace moehill
