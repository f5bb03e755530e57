// Hypotheses: what an experiment expected beforehand, held against its results, and the state of its
// hypothesis, which follows by a rule and by nobody's opinion (docs/metrics.md, "Logbook").
#pragma once

#include <string>
#include <vector>

#include "moehill/report/results_view.h"
#include "moehill/store/expectation.h"

namespace moehill {

// Two rows of a view that an expectation speaks of.
struct JudgedPair {
  size_t over = 0, under = 0;
  Ratio ratio;
  bool met = false;    // by the ratio alone
  bool clear = false;  // the interval is on the same side, and the ratio farther off than the noise floor
};

struct JudgedExpectation {
  std::string text;
  std::optional<Expectation> expectation;  // none: it cannot be read
  std::vector<JudgedPair> pairs;
};

// The expectations that stood when the first result came; later ones do not count.
std::vector<std::string> fixed_expectations(const StoredExperiment& experiment);

JudgedExpectation judge_expectation(const ExperimentView& view, const std::string& text);

// "met: `a` over `b` is 1.2 [...]", with the doubt that there is.
std::string judged_text(const ExperimentView& view, const JudgedPair& pair);

enum class HypothesisState { active, blocked, falsified, promoted };
constexpr auto words(HypothesisState) { return std::array{"active", "blocked", "falsified", "promoted"}; }

struct Hypothesis {
  std::string id;  // "H3": by the order in which experiments were begun
  HypothesisState state = HypothesisState::active;
  std::string why;  // Markdown
};

// One for each view, in their order. The first of these that holds is the state:
//   active     a run is left to do
//   falsified  a pair of an expectation is clearly not as expected
//   blocked    a point that an expectation speaks of has failed or has no figure
//   promoted   there are expectations, each has pairs, and all of these are clearly as expected
//   active     else: nothing was fixed beforehand, or the noise does not decide
std::vector<Hypothesis> hypotheses_of(const std::vector<ExperimentView>& views);

}  // namespace moehill
