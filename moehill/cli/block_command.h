// This header has the steps that `bench`, `profile` and `tune` share: adopt the layout of the job, take over
// tuned blocks, run the points, write the results. Every process of a job calls each function that takes a
// Job.
//
//     Environment environment = adopt_environment(options, job);
//     std::vector<Point> points = expand_points(options, environment.topology.num_cores);
//     const std::string tuned = adopt_tuned(options, environment, job, points);
//     CommandResult result = run_points(options, points, environment, job, yardstick, tuned);
//     if (job.is_root()) write_outputs(options, result, [&] { say(options, job, result_table(result)); });
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/measure/results.h"
#include "moehill/mesh/job.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {

// Prints a text for people, on the root of the job only: to standard output, or to standard error if records
// go to standard output.
void say(const BenchOptions& options, const Job& job, const std::string& text);

// Sets the mesh, the devices and the threads from the processes of the job, and returns a description of the
// machine. Throws InputError if the options contradict the job.
Environment adopt_environment(BenchOptions& options, const Job& job);

// Throws InputError if a file or folder that the options name as an output cannot be written, or if it is a
// file that a run reads or adds to unasked: the tables of blocks and of climbs, the probe, the scores.
void require_writable_outputs(const BenchOptions& options, const Environment& environment);

// Refuses points that do not fit into memory, describes them (with `note`), then checks and times them. Every
// process of the job calls it; only the root's result is complete.
CommandResult run_points(const BenchOptions& options, const std::vector<Point>& points,
                         const Environment& environment, const Job& job, Yardstick& yardstick,
                         const std::string& note = "");

// Sets tuned blocks in the points, the same in every process (moehill/tune/tuned_table.h). Returns a line to
// print.
std::string adopt_tuned(const BenchOptions& options, const Environment& environment, const Job& job,
                        std::vector<Point>& points);

// Writes the records, exports and traces that the options ask for, then calls `show_all` for everything that
// a person reads. If some file cannot be written, the others are, and the failure is thrown at the end.
void write_outputs(const BenchOptions& options, const CommandResult& command,
                   const std::function<void()>& show_all);

// Returns kExitCheckFailed if a check failed, 128 + the signal if one ended the measurement early, else
// kExitDone.
int exit_status(const CommandResult& command);

}  // namespace moehill
