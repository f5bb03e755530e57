// Sweep summary is the text that people read when a sweep ends, and the list of a database's experiments. It
// is plain text for a terminal; report/logbook.h and report/page.h tell the same at length.
//
//     fmt::print("{}", sweep_summary(view));
#pragma once

#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// Returns one row for each point and path: state, rounds, median time and throughput, and the change against
// its baseline with interval and verdict. Then each expectation with its ratio, and the share of results that
// other work disturbed. Points of earlier versions of the file are left out.
std::string sweep_summary(const ExperimentView& view);

// Returns one row for each experiment: title, points that are done and that failed, rounds, and when it was
// begun.
std::string list_experiments(const std::vector<ExperimentView>& views);

}  // namespace moehill
