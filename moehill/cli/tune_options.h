// This header declares the options of `moehill tune`. For the problem it takes some of the options of bench.
//
//     const auto options = parse_tune_options({"--tokens", "256", "--candidates", "bt=64;bf=1024"});
//     options->candidates.size();   // 3, with the default
#pragma once

#include <optional>

#include "moehill/cli/bench_options.h"

namespace moehill {

// TuneOptions is what the command line fills.
struct TuneOptions {
  BenchOptions bench;
  double budget_s = 60;                // seconds of timed steps, for each problem
  std::vector<BlockSizes> candidates;  // empty: chosen by the model of the caches
  std::string table;                   // empty: the user's own table
};

// Returns nothing if help was printed. Throws InputError for contradictions.
std::optional<TuneOptions> parse_tune_options(const std::vector<std::string>& args);

}  // namespace moehill
