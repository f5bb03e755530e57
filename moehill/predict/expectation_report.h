// This header shows what the model expects of a shape with each spread: the answer, a table, a table of
// stages, and records. predict_run() makes the expectations.
//
//     fmt::print("{}", spread_table(expected, hardware));
#pragma once

#include <cstdint>
#include <nlohmann/json.hpp>
#include <string>
#include <vector>

#include "moehill/predict/prediction.h"

namespace moehill {

// ExpectedSpread is one line: a spread and what is expected of it.
struct ExpectedSpread {
  RunConfig config;
  Prediction prediction;
};

// Returns the answer in one sentence: the fastest spread, and how far behind the next one is.
std::string expectation_answer(std::vector<ExpectedSpread> expected);

// Returns the record of an expectation; `seed` is that of the routing.
nlohmann::ordered_json expectation_json(const ExpectedSpread& expectation, const Hardware& hardware,
                                        const DistributionOptions& distribution, uint32_t seed);
// Returns the stages of the slowest device. One spread has a line for each stage, with its parts; several
// spreads share one table, with a column for each.
std::string stage_table(const std::vector<ExpectedSpread>& expected);
// Returns a line for each spread. It compares all lines with the first one.
std::string spread_table(const std::vector<ExpectedSpread>& expected, const Hardware& hardware);

}  // namespace moehill
