// Saturation: why more devices do not help, or help more than they should, in words.
#pragma once

#include <string>
#include <vector>

#include "moehill/predict/simulated_step.h"

namespace moehill {

// Tokens/s a device of a size over that of the smallest one, for weak and for strong scaling.
double scaling_efficiency(const SimulatedStep& step, const SimulatedStep& smallest);

// A line where some devices hold no expert, else empty.
std::string saturation_text(const SimulatedStep& step);
// A line where the efficiency of some size is above 1, else empty. By rising size.
std::string efficiency_text(const std::vector<SimulatedStep>& steps);

}  // namespace moehill
