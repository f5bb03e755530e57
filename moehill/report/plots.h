// Plots: which figures of a database or of records a picture shows.
#pragma once

#include <string>
#include <vector>

#include "moehill/report/matching.h"
#include "moehill/report/results_view.h"

namespace moehill {

// Ratios to the baseline of each experiment, and those published beside them.
std::string ratio_plot(const std::vector<ExperimentView>& views);

// Share of the measured peak by top-k: a panel an experiment that has three top-k or more (two, where none
// has three), a curve for each combination of its other axes; or of records, a curve for each name that
// record_label() gives.
std::string peak_plot(const std::vector<ExperimentView>& views);
std::string peak_plot(const ResultSet& records);

enum class Picture { automatic, ratios, peak };
constexpr auto words(Picture) { return std::array{"auto", "ratios", "peak"}; }

// The picture of a database or of files of records, as read_results() takes them. `automatic`: ratios where a
// database has some, else the share of peak. Throws InputError where there is nothing to show.
std::string plot_of(const std::string& source, Picture picture);

}  // namespace moehill
