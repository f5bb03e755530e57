#include "moehill/report/sweep_summary.h"

#include <gtest/gtest.h>

#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

#define EXPECT_SAYS(text, part) EXPECT_NE((text).find(part), std::string::npos) << (text)

std::vector<ExperimentView> views_of(const StoredExperiment& experiment) {
  TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  fill_replayed(store, experiment);
  return load_views(store, {});
}

TEST(SweepSummary, HasRatiosVerdictsExpectationsAndTheShareOfDisturbedResults) {
  const std::vector<ExperimentView> views = views_of(replayed_experiment());
  ASSERT_EQ(views.size(), 1u);
  const std::string text = sweep_summary(views[0]);
  EXPECT_SAYS(text, "parallel_mode=none topk=2 (baseline)");
  EXPECT_SAYS(text, "-23.");  // 1 / 1.3 - 1
  EXPECT_SAYS(text, "slower");
  EXPECT_SAYS(text, "failed");
  EXPECT_SAYS(text, "topk = 2` met: ");
  EXPECT_SAYS(text, "topk = 8`: no pair of points with results");
  EXPECT_SAYS(text, "0 of 24 results (0 %) were disturbed by other work\n");
}

TEST(SweepSummary, WithoutExpectationsThePointThatWinsIsTheAnswer) {
  StoredExperiment experiment = replayed_experiment();
  experiment.expect.clear();
  const std::string text = sweep_summary(views_of(experiment)[0]);
  EXPECT_EQ(text.rfind("`parallel_mode=none topk=2`: no point is faster than this baseline (", 0), 0u)
      << text;
}

TEST(SweepSummary, SaysWhichExpectationsWereNamedAfterTheResults) {
  TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  StoredExperiment experiment = replayed_experiment();
  experiment.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 2"};
  fill_replayed(store, experiment);
  experiment.expect = {"ratio(parallel_mode = ep, parallel_mode = none) >= 0.5 at topk = 2"};
  fill_replayed(store, experiment);
  const std::string text = sweep_summary(load_views(store, {})[0]);
  EXPECT_SAYS(text, ">= 1.0 at topk = 2` not met: ");
  EXPECT_SAYS(text, ">= 0.5 at topk = 2` (named after the first result: does not count) met: ");
}

// A second host has filled every round with the points that the first had not begun.
TEST(SweepSummary, PointsThatTwoHostsSharedAreNotComparedAndItSaysSo) {
  TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  const StoredExperiment experiment = replayed_experiment();
  fill_replayed(store, experiment, {.ep_host = "two"});
  const std::vector<ExperimentView> views = load_views(store, {});
  for (const ResultRow& row : views[0].rows)
    EXPECT_FALSE(row.against.has_value() || row.baseline.has_value());
  const std::string text = sweep_summary(views[0]);
  EXPECT_SAYS(text, "measured on 2 hosts (one, two)");
  EXPECT_SAYS(text, "topk = 2`: no pair of points with results");
  EXPECT_EQ(text.find("-23."), std::string::npos) << text;
}

TEST(SweepSummary, ListsTheExperimentsOfADatabase) {
  const std::string text = list_experiments(views_of(replayed_experiment()));
  EXPECT_SAYS(text, "ep_vs_none");
  EXPECT_SAYS(text, "3 of 4");
  EXPECT_SAYS(text, "EP against none");
  EXPECT_EQ(list_experiments({}), "no experiment is in this database\n");
}

TEST(SweepSummary, ATitleCannotCommandTheTerminal) {
  StoredExperiment experiment = replayed_experiment();
  experiment.title = "\x1b[31mred\n";
  const std::string text = list_experiments(views_of(experiment));
  EXPECT_EQ(text.find('\x1b'), std::string::npos);
  EXPECT_EQ(std::count(text.begin(), text.end(), '\n'), 2);
}

}  // namespace
}  // namespace moehill
