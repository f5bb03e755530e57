// This header makes the report of `moehill bench` and `profile` on the terminal: the answer in one sentence,
// the table of points, how sure it is, and what to do next. It shows stages only if they were asked for. It
// is text for people; programs read the records (measure/make_record.h).
//
//   show(answer_line(result, seed) + result_table(result, seed) + verdict_lines(result, seed) +
//        next_line(result, seed));
#pragma once

#include <string>

#include "moehill/measure/memory_check.h"
#include "moehill/measure/points.h"
#include "moehill/measure/results.h"

namespace moehill {

// Returns shape, the path if all points of expert parallelism have the same, cores and predicted memory, to
// print before anything runs.
std::string describe_command(const std::vector<Point>& points, const Environment& environment,
                             const std::vector<double>& predicted_bytes);

// Returns one sentence that answers the command: what expert parallelism gains or, for single points, what a
// step takes; and which points have no throughput.
std::string answer_line(const CommandResult& result, uint32_t seed);

// Returns a table with one line for each point: layout, median milliseconds with interval, GF/s, tokens/s,
// share of the measured peak, and check. Beside a `none` point stands the ratio of speed that verdict_lines()
// judges.
std::string result_table(const CommandResult& result, uint32_t seed);

// Returns one line for each point whose parts were also timed alone; "" if there is none.
std::string overlap_lines(const CommandResult& result);

// Returns one line for each skewed distribution or trace: what was asked for or how balanced it is, and what
// came out. Returns "" for `random` and `runs`.
std::string routing_lines(const CommandResult& result);

// Returns one table with a column for each point: milliseconds and shares of its stages on the slowest
// device, then which device waits for which. Returns "" unless stages were timed.
std::string stage_table(const CommandResult& result);

// Returns the peaks that were measured beside the points, with their instructions, and the devices' CPUs.
std::string machine_lines(const CommandResult& result);

// Returns one line that says what is worth doing next. If there are several things, it names the most urgent.
std::string next_line(const CommandResult& result, uint32_t seed);

// Returns one sentence for each pair of a `none` point and an `ep` point that differ in nothing else.
std::string verdict_lines(const CommandResult& result, uint32_t seed);

// Returns the predicted beside the measured time, for the points that have both.
std::string prediction_lines(const CommandResult& result);

// Returns one sentence for each point that failed or is mistrusted, and what the passed ones were compared
// with.
std::string check_lines(const CommandResult& result);

}  // namespace moehill
