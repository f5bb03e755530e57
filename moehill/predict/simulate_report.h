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
// Returns one line a size with a bar of its efficiency, and says why an efficiency is above 1.
std::string scaling_table(const std::vector<SimulatedStep>& steps, Scaling scaling);
// Says what the simulator itself took. all_s are the seconds of everything, routing included.
std::string simulator_text(const std::vector<SimulatedStep>& steps, double all_s);

nlohmann::ordered_json simulation_record(const SimulateOptions& options, const SimulatedStep& step, int seq);

// Seconds of the critical path in work and in messages (those of both at once count as messages).
struct CriticalSeconds {
  double work = 0, messages = 0;
};
CriticalSeconds critical_seconds(const SimulatedStep& step);

}  // namespace moehill
