// Exports write a database's results in forms that other programs read. They compute nothing: medians and
// verdicts come from report/results_view.h.
//
//     const std::vector<ExperimentView> views = load_views(store, {});
//     file << export_csv(views);
#pragma once

#include <string>
#include <utility>
#include <vector>

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

// Returns the JSON of Google Benchmark 1.7, in nanoseconds, with one repetition for each round;
// tools/compare.py of that project reads it. Names have no blanks: "experiment/topk:2/ep". The context names
// host and caches, and the label of a repetition is the command that measures the point again. The cpu_time
// is that of all processes, or the real time where a record has none.
std::string export_google_benchmark(const std::vector<ExperimentView>& views);

// Returns JUnit XML: a suite for each experiment, and in it a case for each point. The properties of a case
// are the point's figures, its verdict and a command that measures it again. A failed check is a failure.
// A point that ended in another way without a result is an error, and a point that has not run is skipped.
// Each pair that an expectation names is a case, too, and so is an expectation that names no pair. Such a
// case fails if the expectation is not met. It is skipped while that is not decided, and if the file has
// named the expectation only after the first result.
std::string export_junit(Store& store, const std::vector<ExperimentView>& views);

// Returns text as a cell of a CSV file (RFC 4180). Control characters become blanks, so that no terminal
// obeys them, and a formula gets a quote in front, so that no spreadsheet computes it.
std::string csv_cell(std::string text);

// The hyperfine_*() functions write the records of one command as hyperfine exports its results: in seconds
// (Markdown: milliseconds), with a name and GF/s beside. Each row has its point's name and the values of the
// axes that the command varies.
using Parameters = std::vector<std::pair<std::string, std::string>>;
// ExportedRow is a point of a command with its record.
struct ExportedRow {
  std::string label;
  Parameters parameters;
  StoredJson record;
};
std::string hyperfine_csv(const std::vector<ExportedRow>& rows);
std::string hyperfine_json(const std::vector<ExportedRow>& rows);
std::string hyperfine_markdown(const std::vector<ExportedRow>& rows);

// Returns the result table of one experiment as the logbook shows it.
std::string result_table_markdown(const ExperimentView& view);

}  // namespace moehill
