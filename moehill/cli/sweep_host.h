// This header makes the SweepHost of this program. From it a sweep learns the names of options, the resolved
// options of a point, its predicted time, and the build. The room experiments itself knows no commands.
//
//     const SweepHost host = make_sweep_host(environment, RunPredictor(probed_hardware(environment), speed));
//     const SweepPlan plan = make_plan(read_experiment("ep_vs_none.toml", sweep_option_names), host, sizing);
#pragma once

#include <string>
#include <vector>

#include "moehill/experiments/host.h"
#include "moehill/predict/sweep_prediction.h"
#include "moehill/quiet/environment.h"

namespace moehill {

// Returns the names of a command's options with _ for -, as an experiment file writes them.
std::vector<std::string> sweep_option_names(SweptCommand command);

// Returns the host. `predictor` is copied.
SweepHost make_sweep_host(const Environment& environment, const RunPredictor& predictor);

}  // namespace moehill
