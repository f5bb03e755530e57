// Other results are those that a database has of the same question by another build of the program, or by
// another machine. They belong to other points, so none of them counts here. A sweep that seems to begin anew
// says why with this note.
//
//     tell(other_results_note(store, {*store.find_experiment("ep_vs_none")}, host));
#pragma once

#include <string>
#include <vector>

#include "moehill/experiments/host.h"
#include "moehill/store/store.h"

namespace moehill {

// Returns one sentence for the user, from the newest of these results. Returns nothing if there are none, or
// if this build has results of its own on this machine, for then it goes on with those.
std::string other_results_note(Store& store, const std::vector<StoredExperiment>& experiments,
                               const SweepHost& host);

// Returns the experiments of that name.
std::vector<StoredExperiment> experiments_named(Store& store, const std::string& name);
// Returns the experiments that a climb by this command has made. Those of another build have other names.
std::vector<StoredExperiment> experiments_by(Store& store, const std::string& command);

}  // namespace moehill
