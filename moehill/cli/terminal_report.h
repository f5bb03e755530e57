// The report of `moehill bench` on the terminal: the table of points, their stages, and the verdicts in
// words.
#pragma once

#include <string>

#include "moehill/cli/bench_options.h"
#include "moehill/measure/memory_check.h"
#include "moehill/measure/results.h"

namespace moehill {

// Shape, cores and predicted memory, before anything runs.
std::string describe_command(const std::vector<Point>& points, const Environment& environment,
                             const std::vector<double>& predicted_bytes);

// One line a point: median milliseconds with interval, FLOP/s, tokens/s, share of the measured peak, check,
// and beside a none the ratio of speed that verdict_lines() judges.
std::string result_table(const CommandResult& result, uint32_t seed);

// One line for each point whose parts were timed alone; empty without any.
std::string overlap_lines(const CommandResult& result);

// One line for each skewed distribution or trace: its promise or its balance, and what it gave; empty for
// random and runs.
std::string routing_lines(const CommandResult& result);

// A table for each point: seconds and shares of its stages on the slowest device. Empty unless stages were
// timed.
std::string stage_tables(const CommandResult& result);

// One sentence for every pair of a none and the ep that differs from it in nothing else.
std::string verdict_lines(const CommandResult& result, uint32_t seed);

// The predicted beside the measured time of the points that have both.
std::string prediction_lines(const CommandResult& result);

// Says why points have failed or are mistrusted, one sentence each.
std::string check_lines(const CommandResult& result);

}  // namespace moehill
