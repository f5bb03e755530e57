// Sweep host: this program's commands as a sweep sees them: option names, resolution, prediction, provenance.
#pragma once

#include <string>
#include <vector>

#include "moehill/experiments/host.h"
#include "moehill/predict/sweep_prediction.h"
#include "moehill/quiet/environment.h"

namespace moehill {

// Names of a command's options with _ for -, as an experiment file writes them; none for a command
// that no sweep can run.
std::vector<std::string> sweep_option_names(SweptCommand command);

SweepHost make_sweep_host(const Environment& environment, const RunPredictor& predictor);

}  // namespace moehill
