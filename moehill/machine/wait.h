// Wait is one interval in which a device waited at a collective for its peers. The mesh reports waits, and a
// timeline shows them.
#pragma once

namespace moehill {

// Times are seconds of machine/clock.h. A collective over several nodes gives two waits: one for the peers on
// the same node, and one for those on other nodes.
struct Wait {
  double begin = 0, end = 0;
  double came = 0;      // when this device itself arrived; no peer waits for it any more
  int node = 0;         // the number of this device's node; devices of one node have the same number
  bool across = false;  // true: it waited for devices of other nodes; false: for devices of its own node
};

}  // namespace moehill
