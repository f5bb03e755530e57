// Tests of the rule for the state of a hypothesis. Each state has a database in which it holds.
#include "moehill/report/hypotheses.h"

#include <gtest/gtest.h>

#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

constexpr const char* kEpSlower = "ratio(parallel_mode = ep, parallel_mode = none) < 1.0 at topk = 2";
constexpr const char* kEpFaster = "ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 2";

struct Case {
  std::vector<std::string> expect;
  Planted planted;
  double floor = 0;  // measured before the results
};

Hypothesis hypothesis_of(const Case& planted) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  if (planted.floor > 0)
    store.add_noise_floor(
        {0, "2026-01-01T00:00:00Z", "a CPU, 2 cores, AVX2", "b", 8, planted.floor, StoredJson::object()});
  StoredExperiment experiment = replayed_experiment();
  experiment.expect = planted.expect;
  fill_replayed(store, experiment, planted.planted);
  return hypotheses_of(load_views(store, {})).at(0);
}

void expect_state(const Case& planted, HypothesisState state, const std::string& why) {
  const Hypothesis found = hypothesis_of(planted);
  EXPECT_EQ(found.id, "H1");
  EXPECT_STREQ(name_of(found.state), name_of(state)) << found.why;
  EXPECT_NE(found.why.find(why), std::string::npos) << found.why;
}

TEST(Hypotheses, PromotedWhereAllIsClearlyAsExpected) {
  expect_state({{kEpSlower}, {}}, HypothesisState::promoted, "as expected in the one pair of points");
  expect_state({{"ratio(parallel_mode = ep, parallel_mode = none) < 1.0", kEpSlower}, {1.3, 0.001, false}},
               HypothesisState::promoted, "all 3 pairs");
}

TEST(Hypotheses, FalsifiedWhereOnePairIsClearlyNot) {
  expect_state({{kEpSlower, kEpFaster}, {}}, HypothesisState::falsified,
               "not met: `parallel_mode=ep topk=2`");
  // An expectation that is not met decides, even if another one could not be measured.
  expect_state({{kEpFaster, "ratio(parallel_mode = ep, parallel_mode = none) < 1.0 at topk = 8"}, {}},
               HypothesisState::falsified, kEpFaster);
}

TEST(Hypotheses, BlockedWhereAPointFailedThatItSpeaksOf) {
  expect_state({{kEpSlower, "ratio(parallel_mode = ep, parallel_mode = none) < 1.0 at topk = 8"}, {}},
               HypothesisState::blocked, "`parallel_mode=ep topk=8` failed: failed");
}

TEST(Hypotheses, ActiveWhileRunsAreLeft) {
  expect_state({{kEpSlower}, {1.3, 0.001, false, 3}}, HypothesisState::active,
               "4 of 4 points have runs left");
}

TEST(Hypotheses, ActiveWhereNoiseOrNothingDecides) {
  expect_state({{kEpFaster}, {1.02, 0.1, false}}, HypothesisState::active,
               "interval and noise do not decide");
  expect_state({{kEpSlower}, {}, 0.5}, HypothesisState::active, "interval and noise do not decide");
  expect_state({{}, {}}, HypothesisState::active, "no threshold was fixed beforehand");
  expect_state({{"not an expectation"}, {}}, HypothesisState::active, "cannot be read");
  expect_state({{"ratio(parallel_mode = dp, parallel_mode = none) >= 1.0"}, {}}, HypothesisState::active,
               "no pair of points");
}

TEST(Hypotheses, AnExpectationMeetsPairsOfAZip) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  fill_replayed(store, replayed_experiment());
  ExperimentView view = load_views(store, {})[0];
  for (StoredPoint& point : view.points) point.axes["ep_path"] = point.axes["parallel_mode"];
  ASSERT_EQ(judge_expectation(view, kEpSlower).pairs.size(), 1u);
  EXPECT_TRUE(judge_expectation(view, kEpSlower).pairs[0].met);
  for (StoredPoint& point : view.points) point.axes["ep_path"] = point.label;  // an axis of its own
  EXPECT_TRUE(judge_expectation(view, kEpSlower).pairs.empty());
}

// A threshold that is named after the first result does not count, and the page says so; one named before
// counts.
TEST(Hypotheses, ThresholdsAreThoseOfBeforeTheFirstResult) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  StoredExperiment experiment = replayed_experiment();
  const auto fixed = [&] { return fixed_expectations(store.experiments().at(0)); };
  experiment.expect = {kEpSlower};
  Journal journal(store, this_process(), StoredJson::object());
  std::vector<StoredPoint> none;
  journal.save_plan(experiment, none);
  experiment.expect = {kEpFaster};
  fill_replayed(store, experiment, {1.3, 0.001, false, 3});
  EXPECT_EQ(fixed(), std::vector<std::string>{kEpFaster});
  experiment.expect = {kEpSlower};
  fill_replayed(store, experiment, {1.3, 0.001, false});
  EXPECT_EQ(fixed(), std::vector<std::string>{kEpFaster});
  EXPECT_EQ(hypotheses_of(load_views(store, {})).at(0).state, HypothesisState::falsified);
  experiment.expect = {kEpFaster};
  fill_replayed(store, experiment, {1.3, 0.001, false});
  EXPECT_FALSE(store.experiments().at(0).sizing.contains(kExpectBefore));
}

}  // namespace
}  // namespace moehill
