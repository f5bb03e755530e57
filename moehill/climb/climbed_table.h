// Climbed table: the configurations that `moehill climb` found the fastest, by problem, for one CPU model and
// one state of the kernels.
#pragma once

#include <map>
#include <optional>
#include <string>
#include <vector>

#include "moehill/bench/statistics.h"
#include "moehill/quiet/environment.h"
#include "moehill/store/results.h"

namespace moehill {

struct ClimbedEntry {
  StoredJson options = StoredJson::object();  // of bench, _ for -; those of the problem are not among them
  double gain = 1;                            // in speed, over what the climb began with
  std::string cpu, kernels, time_utc;
};
using ClimbedTable = std::map<std::string, ClimbedEntry>;  // by problem_key()

// $MOEHILL_CLIMBED, else climbed/CPU.json in the user's data folder; empty where there is no home.
std::string default_climbed_file(const Environment& environment);

// An empty table where there is no such file. Throws InputError for one that is no table.
ClimbedTable read_climbed(const std::string& path);
// Throws std::runtime_error where it cannot be written.
void keep_climbed(const std::string& path, const std::string& key, const ClimbedEntry& entry);

// The entry for a problem. Throws InputError where there is none that holds for this CPU and these kernels.
ClimbedEntry require_climbed(const std::string& path, const std::string& key, const Environment& environment);

}  // namespace moehill
