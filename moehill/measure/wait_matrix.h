// The wait matrix tells which device waited for which in a step, in which stage, and what the other device
// was doing meanwhile. It explains times; the times themselves are in DeviceSeconds.
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
// Devices meet in the same order, so the n-th waits of all devices belong together. In each such meeting the
// devices of a node wait for each other, or for the devices of the other nodes. The device that came last is
// the one for which the others waited. If a wait goes on after that device had come (until a sleeping thread
// runs again), the rest counts as the stage in which that device is at that moment.
// Between nodes this holds only if the device came after the wait had begun. Otherwise messages were under
// way, and no device is to blame.
// Returns nothing if devices have different numbers of waits or if one has no stages: then they did not all
// meet each other, or some waits were not kept. The times of the events have to be of one clock.
std::vector<WaitEntry> wait_entries(const StepEvents& events);

// Names the device that was waited for most, and what it did meanwhile, as a sentence with a full stop. Empty
// without waits.
std::string culprit_sentence(const std::vector<WaitEntry>& entries);

}  // namespace moehill
