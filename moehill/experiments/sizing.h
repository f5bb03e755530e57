// Sizing request: what a sweep's options say about sizes, and the sizes that follow.
#pragma once

#include <string>

#include "moehill/experiments/plan.h"

namespace moehill {

struct SizingRequest {
  std::string budget, scale;  // as given; empty: not given
  int64_t rounds = 0;         // 0: the file's

  // Throws InputError for a budget together with a scale or rounds, since the budget chooses these by itself.
  void require_sense() const;
};

// Returns the sizes for the request. `database` keeps what was chosen for a budget, file, build and machine,
// so that a sweep can be resumed although the machine's speed never measures quite the same.
Sizing choose_sizing(const SizingRequest& request, const std::string& database, const ExperimentFile& file,
                     const SweepHost& host);

// Returns the part that the database keeps (StoredExperiment::sizing).
StoredJson kept_sizing(const SizingRequest& request, const SweepHost& host, const SweepPlan& plan,
                       const Sizing& sizing);

// Returns the options again, each after a blank, such as " --budget 10m".
std::string sizing_options(const SizingRequest& request);

}  // namespace moehill
