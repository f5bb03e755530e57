// Expectations of the model for a shape by each spread: a table, a table of stages, and records.
#pragma once

#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "moehill/predict/prediction.h"

namespace moehill {

// One line: a spread and what is expected of it.
struct ExpectedSpread {
  RunConfig config;
  Prediction prediction;
};

nlohmann::ordered_json expectation_json(const ExpectedSpread& expectation, const Hardware& hardware,
                                        const DistributionOptions& distribution);
std::string stage_table(const Prediction& prediction);
// The first line is what the others are compared with.
std::string spread_table(const std::vector<ExpectedSpread>& expected, const Hardware& hardware);

}  // namespace moehill
