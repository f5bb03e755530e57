// The report of `moehill simulate`: tables and bars for a terminal, and records.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "moehill/predict/simulated_step.h"

namespace moehill {

// Stages with their share of the critical path, the path itself, and the fullest links.
std::string step_report(const SimulatedStep& step);
// One line a path, with a bar of its time.
std::string path_table(const std::vector<SimulatedStep>& steps);
// One line a size, with a bar of its efficiency.
std::string scaling_table(const std::vector<SimulatedStep>& steps, Scaling scaling);

nlohmann::ordered_json simulation_record(const SimulateOptions& options, const SimulatedStep& step, int seq);

// Seconds of the critical path in work and in messages (those of both at once count as messages).
struct CriticalSeconds {
  double work = 0, messages = 0;
};
int64_t network_bytes(const SimulatedStep& step);  // of all devices, to other nodes
CriticalSeconds critical_seconds(const SimulatedStep& step);

// Tokens/s a device of a size over that of the smallest one, for weak and for strong scaling.
double scaling_efficiency(const SimulatedStep& step, const SimulatedStep& smallest);

}  // namespace moehill
