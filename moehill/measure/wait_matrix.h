// Wait matrix: who waited for whom in a step, in which stage, and what the one waited for was doing.
#pragma once

#include <string>
#include <vector>

#include "moehill/block/stages.h"
#include "moehill/measure/device_events.h"

namespace moehill {

// The time that `device` waited for `other` while it was itself in `stage` and `other` in `busy_in`.
struct WaitEntry {
  Stage stage{};
  int device = 0, other = 0;
  Stage busy_in{};
  double seconds = 0;
  bool operator==(const WaitEntry&) const = default;
};

// Devices meet in the same order, so the n-th waits of all belong together. In each the devices of a node
// wait for each other, or for those of the other nodes; of these the one that came last is the one waited
// for. What remains of a wait after that one had come (until a sleeping thread runs again) counts as its
// stage at that moment. Between nodes that is only so where it came later than the wait began: else messages
// were under way, and nobody is to blame. The largest come first. Nothing where devices have different
// numbers of waits or one has no stages: they did not all meet each other, or some waits were not kept. The
// events' times are of one clock.
std::vector<WaitEntry> wait_entries(const StepEvents& events);

// Names the device that was waited for most, and what it did meanwhile; ends in a full stop. Empty without
// waits.
std::string culprit_sentence(const std::vector<WaitEntry>& entries);

}  // namespace moehill
