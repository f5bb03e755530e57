// Matching reads two sets of results from files or databases, pairs them by their options and compares the
// pairs. `moehill compare` uses it; measure/results.h compares the points of one command.
//
//     const Matching matching = match_results(read_results("old.jsonl"), read_results("new.jsonl"));
//     matching.pairs[0].ratio, matching.pairs[0].verdict;   // report/matching_report.h has words for them
#pragma once

#include <map>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// ComparedProcess holds the samples of a point that one process measured. They are costs: seconds for 1e12
// FLOPs of the model, so that unlike sizes can be compared.
struct ComparedProcess {
  std::string id;
  std::optional<double> started_s;  // Unix time
  int64_t round = 0;                // in a sweep
  std::string host;                 // "": not known
  std::vector<double> samples;
  // This is the cost of a step at the peak that the process measured; none: it has no share of a peak.
  std::optional<double> peak_cost = {};
};

// ComparedResult is one point (and path) of a set.
struct ComparedResult {
  std::string label;
  StoredJson record;                       // the first one with a figure; if none has one, the first
  std::vector<ComparedProcess> processes;  // those with a figure and a passed check
  // For a record without a figure: "its check is off". Empty: all have one.
  std::string why_missing;
  // Machine and build of the records with a figure: by the name in `env`, each value that occurs.
  std::map<std::string, std::set<std::string>> environment = {};
};

// ResultSet is one side of a comparison.
struct ResultSet {
  std::string source;
  std::string experiment;  // results of one experiment were interleaved; empty: from files
  std::vector<ComparedResult> results;
  std::vector<StoredNoiseFloor> floors;
  int64_t num_repeated = 0;  // records that are in the files more than once and count once
  int64_t num_ablated = 0;   // records of steps that left stages out, which do not count
};

// Returns the name of a record's point among others, by the options in which points usually differ.
std::string record_label(const StoredJson& record);
// Returns a name for each of these records: record_label(), and behind it the options in which the records of
// that label differ.
std::vector<std::string> distinct_labels(const std::vector<StoredJson>& records);

bool is_database(const std::string& path);

// Throws InputError if the output that `option` names is a file of one of these sources. The sources are
// written as for read_results().
void refuse_source_as_output(const std::vector<std::string>& sources, const std::string& option,
                             const std::string& output);

// Reads the results of a source: files of records (JSON lines) with a comma between them, DATABASE,
// DATABASE:EXPERIMENT or DATABASE:EXPERIMENT/POINT. Throws InputError for what is not there.
ResultSet read_results(const std::string& source);

// Returns the values that this name in `env` has in the results of a set. SIMD targets are in people's words,
// such as AVX-512.
std::set<std::string> environment_values(const ResultSet& set, const std::string& name);
// Returns the word of people for a name in `env`: "SIMD target" for "kernel", else the name.
std::string environment_word(const std::string& name);

// MatchedPair is one result of each side, compared.
struct MatchedPair {
  std::string label_a, label_b;
  Ratio ratio;  // of b over a
  std::optional<double> floor;
  Verdict verdict = Verdict::cannot_tell;
  // Names of `env`, such as "cpu" and "build", that have more than one value in the runs of the two sides.
  // And "plan" or "weights" if the sides have equal options, but another routing or a model of other weights.
  std::vector<std::string> unlike = {};
  std::string repro = {};  // the command that measures b again; "": its record names none

  // True if the runs of the two sides have more than one CPU model or number of cores. It is false for a pair
  // that was measured in turn: each of its rounds ran on one machine, even if different machines ran
  // different rounds.
  bool of_several_machines() const;
};
// MissingFigure is a pair in which the first set has no figure, or a record of the second set has none.
struct MissingFigure {
  std::string label, why;
  bool of_baseline = false, unchecked = false;  // the first set lacks it; it was not checked
};
// Matching is the whole comparison.
struct Matching {
  std::vector<std::string> differing;  // options that tell the sets apart
  std::vector<MatchedPair> pairs;
  std::vector<MissingFigure> missing;
  std::vector<std::string> only_a, only_b;  // labels without a partner
  // For each name in MatchedPair::unlike, with the values of each side: "cpu: A has X; B has Y".
  std::vector<std::string> unlike = {};
};

// Pairs the results. Results of the same routing plan and weights are paired first, then what is left. An
// option that has one value in all of `a` and another in all of `b` tells the sets apart; all other options
// have to agree, and so does the path. Pairs of one experiment are compared by round. Pairs that the same
// processes measured are compared by process, or by sample if there is a single process. All other pairs are
// compared by compare_processes(), without the processes that are on both sides.
Matching match_results(const ResultSet& a, const ResultSet& b);

}  // namespace moehill
