// Saturation: why more devices do not help, or help more than they should, in words.
#pragma once

#include <string>
#include <vector>

#include "moehill/predict/simulated_step.h"

namespace moehill {

// Returns tokens/s a device over those of the smallest size, for weak and for strong scaling.
double scaling_efficiency(const SimulatedStep& step, const SimulatedStep& smallest);

// Returns a line if some devices hold no expert, else an empty text.
std::string saturation_text(const SimulatedStep& step);
// Returns a line if the efficiency of some size is above 1, else an empty text. The steps are in the order of
// rising sizes.
std::string efficiency_text(const std::vector<SimulatedStep>& steps);

}  // namespace moehill
