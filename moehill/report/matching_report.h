// This header says in words what a Matching (report/matching.h) found, as a table, JSON or JUnit XML, and
// decides what a gate in CI has to know: which pairs are slower, and which cannot be judged.
//
//     fmt::print("{}", matching_table(matching));
//     const bool slower = !regressions(matching, 0.03).empty();
#pragma once

#include <string>
#include <vector>

#include "moehill/report/matching.h"

namespace moehill {

// Returns a line for each kind of record that is there and does not count.
std::string notes_of(const ResultSet& set);

StoredJson pair_json(const MatchedPair& pair);
std::string pair_lines(const Matching& matching);  // one line for each pair
std::string matching_table(const Matching& matching);

// Returns JUnit XML of the comparison: a case for each pair, with its ratio, interval and verdict as
// properties. What regressions() returns is a failure, also a point that b has lost. A pair without a
// verdict, a point without a figure in a or with its check off, and a point that only b has are skipped.
std::string matching_junit(const Matching& matching, double tolerance);

// Returns the pairs that are `slower` by more than `tolerance` (0.03: 3 %), and what b has lost altogether.
std::vector<std::string> regressions(const Matching& matching, double tolerance);

// Returns what cannot be judged: pairs without an interval, baselines without a figure, results without a
// check.
std::vector<std::string> unjudged(const Matching& matching);
// Says how to get what unjudged() lacks; empty if it lacks nothing.
std::string remedy_of(const Matching& matching);

}  // namespace moehill
