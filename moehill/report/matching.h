// Matching: two sets of results from files or databases, paired by their options and compared.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/report/results_view.h"

namespace moehill {

// One point (and path) of a set, over all its rounds or, of a single record, its samples.
struct ComparedResult {
  std::string label;
  StoredJson record;  // the first one
  Series series;      // no costs: no figure with a passed check
};

struct ResultSet {
  std::string source, origin;  // results of one origin were interleaved: the experiment, or the file
  std::vector<ComparedResult> results;
  std::vector<StoredNoiseFloor> floors;
};

// A file of records (JSON lines), DATABASE, DATABASE:EXPERIMENT or DATABASE:EXPERIMENT/POINT. Throws
// InputError for what is not there.
ResultSet read_results(const std::string& source);

struct MatchedPair {
  std::string label_a, label_b;
  SpeedComparison speed;  // of b over a
  std::optional<double> floor;
  std::string verdict;
};
struct Matching {
  std::vector<std::string> differing;  // options that tell the sets apart
  std::vector<MatchedPair> pairs;
  std::vector<std::string> only_a, only_b;  // labels without a partner that has a figure
};

// Options whose value is one in all of `a` and another in all of `b` tell the sets apart; all others have to
// agree, and the path.
Matching match_results(const ResultSet& a, const ResultSet& b);

StoredJson pair_json(const MatchedPair& pair);
std::string matching_table(const Matching& matching);

// Pairs that are `slower` by more than `tolerance` (0.03: 3 %), and what b has lost altogether.
std::vector<std::string> regressions(const Matching& matching, double tolerance);

}  // namespace moehill
