// Sweep host: this program's commands as a sweep sees them: option names, resolution, prediction, provenance.
#pragma once

#include <string>
#include <vector>

#include "moehill/cli/auto_tokens.h"
#include "moehill/cli/environment.h"
#include "moehill/experiments/host.h"

namespace moehill {

// FLOP/s and B/s of all cores, measured now; about a second.
MachineSpeed measure_speed(const Topology& topology);

// Seconds that `moehill bench` takes from start to end for these points: the steps by estimate_seconds() and
// what happens before them, random operands of this size and the double-precision check.
double predict_run_seconds(const std::vector<Point>& points, const ScheduleOptions& schedule,
                           const MachineSpeed& speed);

// Names of a command's options with _ for -, as an experiment file writes them; none for a command
// that no sweep can run.
std::vector<std::string> sweep_option_names(const std::string& command);

SweepHost make_sweep_host(const Environment& environment, const MachineSpeed& speed);

}  // namespace moehill
