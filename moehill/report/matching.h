// Matching: two sets of results from files or databases, paired by their options and compared.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// One process measured these samples of a point. They are costs: seconds for 1e12 FLOPs of the model.
struct ComparedProcess {
  std::string id;
  std::optional<double> started_s;  // Unix time
  int64_t round = 0;                // of a sweep
  std::vector<double> samples;
};

// One point (and path) of a set.
struct ComparedResult {
  std::string label;
  StoredJson record;                       // the first one
  std::vector<ComparedProcess> processes;  // those that have a figure with a passed check
  std::string why_missing;                 // of a record without: "its check is off"; empty: all have one
};

struct ResultSet {
  std::string source;
  std::string experiment;  // results of one experiment were interleaved; empty: from files
  std::vector<ComparedResult> results;
  std::vector<StoredNoiseFloor> floors;
  int64_t num_repeated = 0;  // records that are in the files more than once and count once
  int64_t num_ablated = 0;   // records of steps that left stages out, which do not count
};

// Its point's name among others, by what points usually differ in.
std::string record_label(const StoredJson& record);

bool is_database(const std::string& path);

// Files of records (JSON lines), with a comma between them, DATABASE, DATABASE:EXPERIMENT or
// DATABASE:EXPERIMENT/POINT. Throws InputError for what is not there.
ResultSet read_results(const std::string& source);

struct MatchedPair {
  std::string label_a, label_b;
  Ratio ratio;  // of b over a
  std::optional<double> floor;
  Verdict verdict = Verdict::cannot_tell;
};
// A pair of which the first set has no figure, or a record of the second has none.
struct MissingFigure {
  std::string label, why;
  bool of_baseline = false, unchecked = false;  // the first set lacks it; it was not checked
};
struct Matching {
  std::vector<std::string> differing;  // options that tell the sets apart
  std::vector<MatchedPair> pairs;
  std::vector<MissingFigure> missing;
  std::vector<std::string> only_a, only_b;  // labels without a partner
};

// Options whose value is one in all of `a` and another in all of `b` tell the sets apart; all others have to
// agree, and the path. Pairs of one experiment are compared by round, pairs that the same processes measured
// by process, or by sample where it is one; all others by compare_processes(), without the processes that are
// on both sides.
Matching match_results(const ResultSet& a, const ResultSet& b);

// Returns a line for each kind of record that is there and does not count.
std::string notes_of(const ResultSet& set);

StoredJson pair_json(const MatchedPair& pair);
std::string pair_lines(const Matching& matching);  // a line a pair
std::string matching_table(const Matching& matching);

// JUnit XML of the comparison: a case a pair with its ratio, interval and verdict as properties. What
// regressions() names is a failure; what nobody can tell, or one side lacks, is skipped.
std::string matching_junit(const Matching& matching, double tolerance);

// Pairs that are `slower` by more than `tolerance` (0.03: 3 %), and what b has lost altogether.
std::vector<std::string> regressions(const Matching& matching, double tolerance);

// These cannot be judged: pairs without an interval, baselines without a figure, results without a check.
std::vector<std::string> unjudged(const Matching& matching);
// Says how to get what unjudged() lacks; empty where it lacks nothing.
std::string remedy_of(const Matching& matching);

}  // namespace moehill
