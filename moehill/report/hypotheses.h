// Hypotheses compare what an experiment expected beforehand with its results. A rule decides the state of a
// hypothesis, and nobody's opinion does (docs/metrics.md, "Logbook").
//
//     for (const Hypothesis& h : hypotheses_of(views))
//       fmt::print("{} {}: {}\n", h.id, name_of(h.state), h.why);   // "H1 promoted: as expected in ..."
#pragma once

#include <string>
#include <vector>

#include "moehill/report/results_view.h"
#include "moehill/store/expectation.h"

namespace moehill {

// JudgedPair is two rows of a view that an expectation speaks of.
struct JudgedPair {
  size_t over = 0, under = 0;
  Ratio ratio;
  bool met = false;  // by the ratio alone
  // The interval is on the same side, and the ratio is farther off than the noise floor.
  bool clear = false;
};

// JudgedExpectation is one expectation with all its pairs.
struct JudgedExpectation {
  std::string text;
  std::optional<Expectation> expectation;  // empty: it cannot be read
  std::vector<JudgedPair> pairs;
};

// Returns the expectations that stood when the first result came. Later ones do not count.
std::vector<std::string> fixed_expectations(const StoredExperiment& experiment);

// StatedExpectation is the text of an expectation, and whether it counts: it does if it was fixed.
struct StatedExpectation {
  std::string text;
  bool counts = true;
};
// Returns the fixed expectations, and behind them those that the file has named since. Every report shows
// both kinds in this order, so that nobody can change an expectation after seeing the results.
std::vector<StatedExpectation> stated_expectations(const StoredExperiment& experiment);
inline constexpr const char* kNamedLate = "named after the first result: does not count";

// Finds the pairs of an expectation and judges each.
JudgedExpectation judge_expectation(const ExperimentView& view, const std::string& text);

// Returns "met: `a` over `b` is 1.2 [...]", and says so if it is in doubt.
std::string judged_text(const ExperimentView& view, const JudgedPair& pair);

// HypothesisState is what the results say of a hypothesis. The rule stands at hypotheses_of().
enum class HypothesisState { active, blocked, falsified, promoted };
constexpr auto words(HypothesisState) { return std::array{"active", "blocked", "falsified", "promoted"}; }

// Hypothesis is the state of one experiment's hypothesis.
struct Hypothesis {
  std::string id;  // "H3": numbered in the order in which experiments were begun
  HypothesisState state = HypothesisState::active;
  std::string why;  // as Markdown
};

// Returns a hypothesis for each view, in their order. Its state is the first of these that holds:
//    active     a run is left to do
//    falsified  a pair of an expectation is clearly not as expected
//    blocked    a point that an expectation speaks of has failed or has no figure
//    promoted   there are expectations, each has pairs, and all pairs are clearly as expected
//    active     otherwise: nothing was fixed beforehand, or the noise does not decide
std::vector<Hypothesis> hypotheses_of(const std::vector<ExperimentView>& views);

}  // namespace moehill
