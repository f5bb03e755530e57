// Exports write a database's results in forms that other programs read. They compute nothing: medians and
// verdicts come from report/results_view.h.
//
//     const std::vector<ExperimentView> views = load_views(store, {});
//     file << export_csv(views);
#pragma once

#include <string>

#include "moehill/report/results_view.h"

namespace moehill {

// Returns a line for each point and path (RFC 4180), with its comparison; empty cells for what does not
// exist.
std::string export_csv(const std::vector<ExperimentView>& views);

// Returns every record that counts, one on a line, with the fields `experiment`, `point`, `round` and
// `disturbed` added.
std::string export_json_lines(Store& store);

// Returns the table of export_csv() for people, one table for each experiment.
std::string export_markdown(const std::vector<ExperimentView>& views);

// Returns the JSON of Google Benchmark 1.7 with a repetition for each round, in nanoseconds; tools/compare.py
// of that project reads it. Its cpu_time is also the real time, because a step keeps every core busy and only
// the clock is read.
std::string export_google_benchmark(const std::vector<ExperimentView>& views);

// Returns JUnit XML: a suite for each experiment, a case for each point. A failed check is a failure, another
// bad end is an error, and a point that has not run is skipped.
std::string export_junit(Store& store, const std::vector<ExperimentView>& views);

// Returns the result table of one experiment as the logbook shows it.
std::string result_table_markdown(const ExperimentView& view);

}  // namespace moehill
