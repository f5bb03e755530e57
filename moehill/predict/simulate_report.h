// The report of `moehill simulate`: tables and bars for a terminal, and records. Everything in it comes from
// a SimulatedStep.
//
//     fmt::print("{}", step_report(step));
//     file << simulation_record(options, step, 0).dump() << "\n";
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "moehill/predict/simulated_step.h"

namespace moehill {

// Returns the answer in one sentence: the time of the first step; beside others, what comes next or how the
// throughput grows.
std::string simulation_answer(const std::vector<SimulatedStep>& steps, Scaling scaling);
// Returns the stages with their share of the critical path, the path itself, and the fullest links.
std::string step_report(const SimulatedStep& step);
// Returns one line for each path, with a bar of its time.
std::string path_table(const std::vector<SimulatedStep>& steps);
// Returns one line for each size with a bar of its efficiency, and says why an efficiency is above 1.
std::string scaling_table(const std::vector<SimulatedStep>& steps, Scaling scaling, const Hardware& hardware);
// Says how much time and memory the simulator took. `all_s` are the seconds of everything, with the routing.
std::string simulator_text(const std::vector<SimulatedStep>& steps, double all_s);

// Says what the times rest on, and what to do next.
std::string simulation_closing(const SimulateOptions& options, const Hardware& hardware);

nlohmann::ordered_json simulation_record(const SimulateOptions& options, const SimulatedStep& step, int seq);

// CriticalSeconds are the seconds of the critical path in work and in messages. If a stage has both, the time
// by which its messages last longer than its work counts as messages.
struct CriticalSeconds {
  double work = 0, messages = 0;
};
CriticalSeconds critical_seconds(const SimulatedStep& step);

}  // namespace moehill
