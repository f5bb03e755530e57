// The options of `moehill simulate`, declared once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/predict/simulate_options.h"

namespace moehill {

// Returns nothing when help was printed. Throws InputError.
std::optional<SimulateOptions> parse_simulate_options(const std::vector<std::string>& args);

}  // namespace moehill
