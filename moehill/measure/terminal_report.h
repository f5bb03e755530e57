// The report of `moehill bench` and `profile` on the terminal: the answer in one sentence, the table of
// points, how sure it is, and what to do next. Stages only where they were asked for.
#pragma once

#include <string>

#include "moehill/measure/memory_check.h"
#include "moehill/measure/points.h"
#include "moehill/measure/results.h"

namespace moehill {

// Shape, cores and predicted memory, before anything runs.
std::string describe_command(const std::vector<Point>& points, const Environment& environment,
                             // Returns shape, cores and predicted memory, to print before anything runs.
                             const std::vector<double>& predicted_bytes);

// One sentence that answers the command: what expert parallelism gains; for single points what a step takes;
// and which points have no throughput.
std::string answer_line(const CommandResult& result, uint32_t seed);

// One line a point: layout, median milliseconds with interval, GF/s, tokens/s, share of the measured peak,
// check, and beside a none the ratio of speed that verdict_lines() judges.
std::string result_table(const CommandResult& result, uint32_t seed);

// Returns one line for each point whose parts were also timed alone; "" if there is none.
std::string overlap_lines(const CommandResult& result);

// Returns one line for each skewed distribution or trace: what was asked for or how balanced it is, and what
// came out. Returns "" for `random` and `runs`.
std::string routing_lines(const CommandResult& result);

// One table with a column a point: milliseconds and shares of its stages on the slowest device, then who
// waits for whom. Empty unless stages were timed.
std::string stage_table(const CommandResult& result);

// Peaks measured beside the points, with their instructions, and the CPUs that the devices were on.
std::string machine_lines(const CommandResult& result);

// One line: what is worth doing after this, the most urgent first.
std::string next_line(const CommandResult& result, uint32_t seed);

// Returns one sentence for each pair of a `none` point and an `ep` point that differ in nothing else.
std::string verdict_lines(const CommandResult& result, uint32_t seed);

// Returns the predicted beside the measured time, for the points that have both.
std::string prediction_lines(const CommandResult& result);

// Returns one sentence for each point that failed or is mistrusted, and what the passed ones were compared
// with.
std::string check_lines(const CommandResult& result);

}  // namespace moehill
