// Wait: how long a device waited at a collective for its peers to come to it.
#pragma once

namespace moehill {

// Seconds of machine/clock.h. A collective of several nodes has a wait for the peers of the own node, and one
// for those of the other nodes.
struct Wait {
  double begin = 0, end = 0;
  double came = 0;      // since when nobody waits for this device here
  int node = 0;         // of this device; the devices of a node have one number
  bool across = false;  // for devices of other nodes; else for those of the own one
};

}  // namespace moehill
