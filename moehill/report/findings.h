// Findings are the sentences that follow from the numbers of an experiment alone, as Markdown: which point
// wins, what was expected, what is noise, what failed. They hold no opinion; a person adds an opinion as a
// note.
//
//     for (const std::string& line : findings(view)) fmt::print("- {}\n", line);
#pragma once

#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// Returns sentences on the results: which point wins over which baseline and by how much; each expectation
// with its ratio and interval; what is within noise; what failed or was disturbed; how predictions fared;
// agreement with the published ratio; the known defect of the original.
std::vector<std::string> findings(const ExperimentView& view);

// Returns one line for each baseline, with the point that is the fastest beside it; without a baseline one
// line with the fastest point.
std::vector<std::string> winner_lines(const ExperimentView& view);

// Returns one line for each pair of points that an expectation speaks of. It marks expectations that were
// named after the first result, which do not count.
std::vector<std::string> expectation_lines(const ExperimentView& view);

}  // namespace moehill
