// Plots choose the figures of a database or of records that a picture shows; report/picture.h draws them.
//
//     file << plot_of("moehill.sqlite", Picture::automatic);   // SVG
#pragma once

#include <string>
#include <vector>

#include "moehill/report/matching.h"
#include "moehill/report/results_view.h"

namespace moehill {

// Draws the ratios to the baseline of each experiment, with the published ones beside them.
std::string ratio_plot(const std::vector<ExperimentView>& views);
// Draws the ratios of records to the record of parallel_mode=none with the same problem, in one group for
// each such record. Returns "" if no record has one beside it.
std::string ratio_plot(const ResultSet& records);

// Draws the share of the measured peak by top-k. For a database, each experiment with at least three values
// of top-k has a panel (with two, if no experiment has three), and the panel has a curve for each combination
// of the other axes. For records there is a curve for each name that record_label() gives.
std::string peak_plot(const std::vector<ExperimentView>& views);
std::string peak_plot(const ResultSet& records);

enum class Picture { automatic, ratios, peak };
constexpr auto words(Picture) { return std::array{"auto", "ratios", "peak"}; }

// Returns the picture of a source: a database, files of records (written as for read_results()), or one file
// of samples of peers/compare. `automatic` means ratios if the source has some, otherwise the share of the
// peak. Throws InputError if there is nothing to show, and for records of several machines or SIMD targets.
std::string plot_of(const std::string& source, Picture picture);

}  // namespace moehill
