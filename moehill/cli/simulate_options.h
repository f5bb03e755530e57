// This header declares the options of `moehill simulate`, each once; SimulateOptions is in
// moehill/predict/simulate_options.h.
//
//     const auto options = parse_simulate_options({"--devices", "64", "--topk", "8"});
//     options->tokens_at(64);   // tokens of a step on 64 devices
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/predict/simulate_options.h"

namespace moehill {

// Parses the options. Returns nothing if help was printed. Throws InputError for contradictions.
std::optional<SimulateOptions> parse_simulate_options(const std::vector<std::string>& args);

}  // namespace moehill
