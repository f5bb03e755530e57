// Saturation says in words why more devices do not help, or help more than they should. It reads simulated
// steps and changes none.
//
//     fmt::print("{}", saturation_text(step));        // "saturated: 4 of the 64 devices have no expert, ..."
//     scaling_efficiency(steps[2], steps[0]);         // 0.87
#pragma once

#include <string>
#include <vector>

#include "moehill/predict/simulated_step.h"

namespace moehill {

// Returns the tokens/s of a device over the tokens/s of a device at the smallest size, for weak and for
// strong scaling.
double scaling_efficiency(const SimulatedStep& step, const SimulatedStep& smallest);

// Returns a line if some devices hold no expert, otherwise nothing.
std::string saturation_text(const SimulatedStep& step);
// Returns a line if the efficiency of some size is above 1, otherwise nothing. The steps have to be in the
// order of rising sizes.
std::string efficiency_text(const std::vector<SimulatedStep>& steps);

}  // namespace moehill
