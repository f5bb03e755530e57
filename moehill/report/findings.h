// Findings: the factual lines that the numbers of an experiment give by themselves, as Markdown.
#pragma once

#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// Sentences on the results: who wins over which baseline and by how much; each expectation with its ratio and
// interval; what is within noise; what failed or was disturbed; agreement with the published ratio; the
// original's known defect.
std::vector<std::string> findings(const ExperimentView& view);

// One line a pair of points that an expectation speaks of.
std::vector<std::string> expectation_lines(const ExperimentView& view);

}  // namespace moehill
