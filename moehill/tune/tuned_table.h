// Tuned table holds the block sizes that `moehill tune` found, by problem, for one CPU model and one state of
// the kernels. Commands look their points up in it before they run.
//
//     apply_tuned(options, environment, points);   // sets the blocks of the points that are in the table
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/measure/points.h"
#include "moehill/quiet/environment.h"

namespace moehill {

// Returns the whole problem as a text. Two runs with the same key may share blocks (docs/metrics.md).
std::string tuned_key(const RunConfig& config, const Routing& routing);

// TunedEntry is what was found for one problem.
struct TunedEntry {
  BlockSizes blocks;
  // The speed over the default's, from the rounds that confirmed it; 1 if the default won.
  Ratio gain;
  std::string cpu, kernels, time_utc;
  std::string simd = {};  // the SIMD target; empty: an older program did not write it down
};

using TunedTable = std::map<std::string, TunedEntry>;  // by tuned_key()

// Returns FOLDER/CPU.json in the user's data folder; empty if there is no home.
std::string file_of_cpu(const std::string& folder, const Environment& environment);

// Returns $MOEHILL_TUNED (`off`: no table is used unless an option names one), or tuned/CPU.json in the
// user's data folder; empty if there is no home.
std::string default_tuned_file(const Environment& environment);

// Returns an empty table if there is no such file. Throws InputError, with the file and a remedy, for a file
// that is no table.
TunedTable read_tuned(const std::string& path);

// Puts `entry` into the file beside what is there, completely or not at all. Tuners at work at the same time
// wait for one another, and one that is killed leaves the table as it was. Throws as read_tuned() does, and
// std::runtime_error if the file cannot be written.
void keep_tuned(const std::string& path, const std::string& key, const TunedEntry& entry);

// TunedLookup: with `hit`, `blocks` is what the table has; with `stale`, `why` says what has changed.
struct TunedLookup {
  Tuned status = Tuned::miss;
  std::string why;
  BlockSizes blocks{};
};
TunedLookup look_up(const TunedTable& table, const std::string& key, const Environment& environment);

// Gives each point whose kernels have blocks the block sizes of the table, and notes that in `tuned`. It
// leaves a point alone whose options name blocks, and all points if the options name no table. Returns lines
// for people, without repetition. Call it on one process, and copy blocks and words to the others.
std::string apply_tuned(const BenchOptions& options, const Environment& environment,
                        std::vector<Point>& points);

}  // namespace moehill
