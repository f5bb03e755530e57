// Exports: a database's results in forms that other programs read.
#pragma once

#include <string>

#include "moehill/report/results_view.h"

namespace moehill {

// A line a point and path (RFC 4180), with its comparison; empty cells for what does not exist.
std::string export_csv(const std::vector<ExperimentView>& views);

// Every record that counts, one a line, with the fields `experiment`, `point`, `round` and `disturbed` added.
std::string export_json_lines(Store& store);

// The table of export_csv for people, a table an experiment.
std::string export_markdown(const std::vector<ExperimentView>& views);

// The JSON of Google Benchmark 1.7: a repetition a round, nanoseconds; tools/compare.py of that project reads
// it. Its cpu_time is the real time too: a step keeps every core busy and only the clock is read.
std::string export_google_benchmark(const std::vector<ExperimentView>& views);

// JUnit XML: a suite an experiment, a case a point; a failed check is a failure, another end an error, a
// point that has not run is skipped.
std::string export_junit(Store& store, const std::vector<ExperimentView>& views);

// The result table of one experiment as the logbook shows it.
std::string result_table_markdown(const ExperimentView& view);

}  // namespace moehill
