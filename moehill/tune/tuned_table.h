// The tuned table: block sizes found by `moehill tune`, by problem, for one CPU model and one state of the
// kernels.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/measure/points.h"
#include "moehill/quiet/environment.h"

namespace moehill {

// The whole problem as a text: two runs with one key may share blocks (docs/metrics.md).
std::string tuned_key(const RunConfig& config, const Routing& routing);

struct TunedEntry {
  BlockSizes blocks;
  Ratio gain;  // speed to the default's, from the rounds that confirmed it; 1 where the default won
  std::string cpu, kernels, time_utc;
};

using TunedTable = std::map<std::string, TunedEntry>;  // by key

// FOLDER/CPU.json in the user's data folder; empty where there is no home.
std::string file_of_cpu(const std::string& folder, const Environment& environment);

// $MOEHILL_TUNED (`off`: no table is asked unless an option names one), or tuned/CPU.json in the user's data
// folder; empty where there is no home.
std::string default_tuned_file(const Environment& environment);

// Returns an empty table where there is no such file. Throws InputError, with the file and a remedy, for one
// that is no table.
TunedTable read_tuned(const std::string& path);
// The entries that come with this program.
TunedTable shipped_tuned();

// Puts `entry` into the file beside what is there, whole or not at all: tuners at work at the same time wait
// for one another, and one that is killed leaves the table as it was. Throws as read_tuned() does,
// std::runtime_error if it cannot be written.
void keep_tuned(const std::string& path, const std::string& key, const TunedEntry& entry);

// hit: `blocks` is what the table has. stale: `why` says in which way.
struct TunedLookup {
  Tuned status = Tuned::miss;
  std::string why;
  BlockSizes blocks{};
};
TunedLookup look_up(const TunedTable& table, const std::string& key, const Environment& environment);

// Gives each point whose kernels have blocks those of the table, and says so in `tuned`, unless the options
// name blocks or no table. Returns a line for eyes. Call it on one process and copy blocks and words to the
// others.
std::string apply_tuned(const BenchOptions& options, const Environment& environment,
                        std::vector<Point>& points);

}  // namespace moehill
