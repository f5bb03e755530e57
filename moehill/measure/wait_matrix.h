// The wait matrix tells who waited for whom in a step, in which stage, and what the one waited for was doing.
// It explains times; the times themselves are in DeviceSeconds.
//
//     const std::vector<WaitEntry> entries = wait_entries(events);
//     culprit_sentence(entries);   // "Device 1 is waited for most: 2.10 of 3.00 ms that devices wait ..."
#pragma once

#include <string>
#include <vector>

#include "moehill/block/stages.h"
#include "moehill/measure/device_events.h"

namespace moehill {

// WaitEntry is the time that `device` waited for `other` while it was in `stage` itself and `other` in
// `busy_in`.
struct WaitEntry {
  Stage stage{};
  int device = 0, other = 0;
  Stage busy_in{};
  double seconds = 0;
  bool operator==(const WaitEntry&) const = default;
};

// Returns the entries, largest first.
// Devices meet in the same order, so the n-th waits of all devices belong together. In each, the devices of a
// node wait for each other, or for those of the other nodes. The one that came last is the one that was
// waited for. What remains of a wait after it had come (until a sleeping thread runs again) counts as its
// stage at that moment.
// Between nodes that only holds if it came later than the wait began. Otherwise messages were under way, and
// nobody is to blame.
// Returns nothing if devices have different numbers of waits or one has no stages: then they did not all meet
// each other, or some waits were not kept. The times of the events have to be of one clock.
std::vector<WaitEntry> wait_entries(const StepEvents& events);

// Names the device that was waited for most, and what it did meanwhile, as a sentence with a full stop. Empty
// without waits.
std::string culprit_sentence(const std::vector<WaitEntry>& entries);

}  // namespace moehill
