// Climbed table holds the configurations that `moehill climb` found to be the fastest, by problem, for one
// CPU model and one state of the kernels. `bench --climbed` takes them from here.
//
//     const ClimbedEntry entry = require_climbed(path, problem_key(resolved), environment);
//     entry.options["impl"];   // "fast"
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/quiet/environment.h"
#include "moehill/store/results.h"

namespace moehill {

// ClimbedEntry is what was found for one problem.
struct ClimbedEntry {
  // Options of bench (with _ for -). Those that define the problem are not among them.
  StoredJson options = StoredJson::object();
  double gain = 1;  // in speed, over what the climb began with
  std::string cpu, kernels, time_utc;
};
using ClimbedTable = std::map<std::string, ClimbedEntry>;  // by problem_key()

// Returns $MOEHILL_CLIMBED, or climbed/CPU.json in the user's data folder; empty if there is no home.
std::string default_climbed_file(const Environment& environment);

// Returns an empty table if there is no such file. Throws InputError for a file that is no table.
ClimbedTable read_climbed(const std::string& path);
// Throws std::runtime_error if the file cannot be written.
void keep_climbed(const std::string& path, const std::string& key, const ClimbedEntry& entry);

// Returns the entry of a problem. Throws InputError if there is none that holds for this CPU and these
// kernels.
ClimbedEntry require_climbed(const std::string& path, const std::string& key, const Environment& environment);

}  // namespace moehill
