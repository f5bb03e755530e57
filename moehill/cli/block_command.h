// The part that `bench` and `profile` have in common: points in, checked and timed, results written out.
#pragma once

#include <string>
#include <vector>

#include "moehill/measure/results.h"
#include "moehill/mesh/job.h"
#include "moehill/quiet/yardstick.h"

namespace moehill {

// Text for eyes, from the root of the job: to standard output, or to standard error when the records have
// standard output.
void say(const BenchOptions& options, const Job& job, const std::string& text);

// Fits mesh, devices and threads to the job's processes, and says where it runs. Throws InputError.
Environment adopt_environment(BenchOptions& options, const Job& job);

// Throws InputError where --json, --dump or --trace-dir cannot be written.
void require_writable_outputs(const BenchOptions& options);

// Refuses points that do not fit into memory, describes them (and says `note`), checks and times them.
// Collective; complete on the root.
CommandResult run_points(const BenchOptions& options, const std::vector<Point>& points,
                         const Environment& environment, const Job& job, Yardstick& yardstick,
                         const std::string& note = "");

// Tuned blocks for the points (tune/tuned_table.h), the same in every process; a line for eyes.
std::string adopt_tuned(const BenchOptions& options, const Environment& environment, const Job& job,
                        std::vector<Point>& points);

// Writes the traces and the records.
void write_outputs(const BenchOptions& options, const CommandResult& command);

int exit_status(const CommandResult& command);

}  // namespace moehill
