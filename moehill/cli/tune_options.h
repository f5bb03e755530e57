// The options of `moehill tune`.
#pragma once

#include <optional>

#include "moehill/cli/bench_options.h"

namespace moehill {

struct TuneOptions {
  BenchOptions bench;
  double budget_s = 60;
  std::vector<BlockSizes> candidates;  // empty: by the model of the caches
  std::string table;                   // empty: the user's
};

// Returns nothing when help was printed.
std::optional<TuneOptions> parse_tune_options(const std::vector<std::string>& args);

}  // namespace moehill
