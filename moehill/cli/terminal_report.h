// The report of `moehill bench` on the terminal: the table of points, their stages, and the verdicts in
// words. The functions return text and print nothing; the caller chooses the stream. Records for programs are
// made elsewhere (moehill/report).
//
//     const uint32_t seed = options.seed;
//     fmt::print("{}", result_table(command, seed) + stage_tables(command) + verdict_lines(command, seed));
#pragma once

#include <string>

#include "moehill/cli/bench_options.h"
#include "moehill/measure/memory_check.h"
#include "moehill/measure/results.h"

namespace moehill {

// Shape, cores and predicted memory, before anything runs.
std::string describe_command(const std::vector<Point>& points, const Environment& environment,
                             // Returns shape, cores and predicted memory, to print before anything runs.
                             const std::vector<double>& predicted_bytes);

// Returns a table with one line for each point: median milliseconds with interval, FLOP/s, tokens/s, share of
// the measured peak, and the check. If there is a `none` to compare with, a column has the ratio of speeds
// that verdict_lines() judges.
std::string result_table(const CommandResult& result, uint32_t seed);

// Returns one line for each point whose parts were also timed alone; "" if there is none.
std::string overlap_lines(const CommandResult& result);

// Returns one line for each skewed distribution or trace: what was asked for or how balanced it is, and what
// came out. Returns "" for `random` and `runs`.
std::string routing_lines(const CommandResult& result);

// Returns a table for each point with seconds and shares of its stages on the slowest device; "" if stages
// were not timed.
std::string stage_tables(const CommandResult& result);

// Returns one sentence for each pair of a `none` point and an `ep` point that differ in nothing else.
std::string verdict_lines(const CommandResult& result, uint32_t seed);

// Returns the predicted beside the measured time, for the points that have both.
std::string prediction_lines(const CommandResult& result);

// Returns one sentence for each point that failed or is mistrusted, and what the passed ones were compared
// with.
std::string check_lines(const CommandResult& result);

}  // namespace moehill
