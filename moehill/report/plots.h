// Plots: which figures of a database or of records a picture shows.
#pragma once

#include <string>
#include <vector>

#include "moehill/report/matching.h"
#include "moehill/report/results_view.h"

namespace moehill {

// Draws the ratios to the baseline of each experiment, with the published ones beside them.
std::string ratio_plot(const std::vector<ExperimentView>& views);

// Draws the share of the measured peak by top-k. Of a database, each experiment with three top-k or more has
// a panel (with two, if none has three), and the panel has a curve for each combination of the other axes. Of
// records there is a curve for each name that record_label() gives.
std::string peak_plot(const std::vector<ExperimentView>& views);
std::string peak_plot(const ResultSet& records);

enum class Picture { automatic, ratios, peak };
constexpr auto words(Picture) { return std::array{"auto", "ratios", "peak"}; }

// Returns the picture of a database or of files of records, as read_results() takes them, or of one file of
// samples of peers/compare. `automatic` is ratios if a database has some, else the share of peak. Throws
// InputError where there is nothing to show.
std::string plot_of(const std::string& source, Picture picture);

}  // namespace moehill
