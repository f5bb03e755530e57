// A climbed table holds the configurations that `moehill climb` found to be the fastest, by problem and by
// what was given for it. A winner holds for the machine and the kernels that it was found with. `bench
// --climbed` takes the winner from here.
//
//     const ClimbedEntry entry = require_climbed(path, problem_key(resolved, given), environment);
//     entry.options["impl"];   // "fast"
#pragma once

#include <map>
#include <string>

#include "moehill/climb/climber.h"
#include "moehill/quiet/environment.h"
#include "moehill/store/results.h"

namespace moehill {

// ClimbedPlace is the machine and the kernels that a winner was found with.
struct ClimbedPlace {
  std::string cpu, kernels, simd;
  int cores = 0;  // 0: an older program did not write it down

  bool operator==(const ClimbedPlace&) const = default;
};
ClimbedPlace climbed_place(const Environment& environment);

// ClimbedEntry is what was found for one problem.
struct ClimbedEntry {
  // Options of bench (with _ for -). Those that define the problem or were given are not among them.
  StoredJson options = StoredJson::object();
  double gain = 1;                 // in speed, over what the climb began with
  double budget_s = 0, worth = 0;  // of the climb
  ClimbedPlace place;
  std::string time_utc;
};
using ClimbedTable = std::map<std::string, ClimbedEntry>;  // by problem_key()

// Returns $MOEHILL_CLIMBED, or climbed/CPU.json in the user's data folder; empty if there is no home.
std::string default_climbed_file(const Environment& environment);

// Says why the winner of a climb must not be taken for the fastest of its problem; empty if it may.
std::string why_not_to_keep(const ClimbOutcome& outcome, const ClimbOptions& options);
ClimbedEntry climbed_entry(const ClimbOutcome& outcome, const ClimbOptions& options,
                           const Environment& environment);

// Returns an empty table if there is no such file. Throws InputError for a file that is no table.
ClimbedTable read_climbed(const std::string& path);
// Puts an entry into the table. An entry that is there stays if it is for the same place and its climb had
// more budget or a smaller `worth`. Returns why it stays, or an empty text if the new entry is in the table.
// Throws std::runtime_error if the file cannot be written.
std::string keep_climbed(const std::string& path, const std::string& key, const ClimbedEntry& entry);

// Returns the entry of a problem. Throws InputError if there is none that holds for this CPU, its cores, the
// SIMD target and these kernels.
ClimbedEntry require_climbed(const std::string& path, const std::string& key, const Environment& environment);

}  // namespace moehill
