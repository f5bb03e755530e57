#include "moehill/bench/trace.h"

#include <algorithm>
#include <limits>
#include <nlohmann/json.hpp>

namespace moehill {

std::string chrome_trace(const std::vector<DeviceTrace>& devices,
                         const std::function<std::string(int stage)>& stage_name) {
  double start = std::numeric_limits<double>::max();
  for (const DeviceTrace& device : devices) {
    for (const StageInterval& interval : device.intervals) start = std::min(start, interval.begin);
  }
  auto events = nlohmann::ordered_json::array();
  for (size_t pid = 0; pid < devices.size(); ++pid) {
    events.push_back(
        {{"ph", "M"}, {"name", "process_name"}, {"pid", pid}, {"args", {{"name", devices[pid].name}}}});
    for (const StageInterval& interval : devices[pid].intervals) {
      events.push_back({{"ph", "X"},
                        {"name", stage_name(interval.stage)},
                        {"cat", "stage"},
                        {"pid", pid},
                        {"tid", 0},
                        {"ts", (interval.begin - start) * 1e6},
                        {"dur", (interval.end - interval.begin) * 1e6}});
    }
  }
  return nlohmann::ordered_json{{"traceEvents", events}, {"displayTimeUnit", "ms"}}.dump(1) + "\n";
}

}  // namespace moehill
