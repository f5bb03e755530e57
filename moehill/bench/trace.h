// Trace: stage intervals as Chrome trace JSON (the "Trace Event Format", complete events), which
// ui.perfetto.dev opens.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/bench/stage_clock.h"

namespace moehill {

struct DeviceTrace {
  std::string name;                      // "device 0"
  std::vector<StageInterval> intervals;  // seconds
};

// One process per device, times in microseconds from the earliest interval.
std::string chrome_trace(const std::vector<DeviceTrace>& devices,
                         const std::function<std::string(int stage)>& stage_name);

}  // namespace moehill
