// SizingRequest is what a sweep's options say about sizes (--budget, --scale, --rounds). This file finds the
// sizes that follow from them.
//
//     const Sizing sizing = choose_sizing(request, database, file, host);
#pragma once

#include <string>

#include "moehill/experiments/plan.h"

namespace moehill {

// SizingRequest holds the options as given.
struct SizingRequest {
  std::string budget, scale;  // empty: not given
  int64_t rounds = 0;         // 0: as in the file

  // Throws InputError for a budget together with a scale or rounds, because the budget chooses these itself.
  void require_sense() const;
};

// Returns the sizes for the request. `database` keeps the sizes that were chosen for a budget, file, build
// and machine. A resumed sweep needs equal sizes, and the measured speed of a machine is never quite the
// same.
Sizing choose_sizing(const SizingRequest& request, const std::string& database, const ExperimentFile& file,
                     const SweepHost& host);

// Returns the part that the database keeps (StoredExperiment::sizing).
StoredJson kept_sizing(const SizingRequest& request, const SweepHost& host, const SweepPlan& plan,
                       const Sizing& sizing);

// Returns the options as text, each after a blank, such as " --budget 10m".
std::string sizing_options(const SizingRequest& request);

}  // namespace moehill
