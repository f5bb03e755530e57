// Tests of a climb whose program prints records of known speeds: what it finds and reports, that it keeps to
// its budget, and that it can be resumed. sharing_climber_test.cc has climbs whose arms share a process.
#include "moehill/climb/climber.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "moehill/base/error.h"
#include "moehill/climb/climb_report.h"
#include "moehill/climb/climber_fixture.h"
#include "moehill/store/expectation.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

TEST_F(ClimberTest, FindsTheFastestThatKeepsToTheLimits) {
  const ClimbOutcome outcome = climb(options());
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  EXPECT_EQ(outcome.winner.options["ep_path"], "fused");
  EXPECT_EQ(outcome.winner.options["impl"], "fast");
  EXPECT_FALSE(outcome.winner.options.contains("backend")) << "no axis of equal arms was moved";
  ASSERT_TRUE(outcome.total && outcome.total->interval);
  EXPECT_NEAR(outcome.total->ratio, 1 / 0.7, 0.03);
  EXPECT_EQ(outcome.moves[0].axis, ClimbAxis::spread) << "what the model expects to gain comes first";
  ASSERT_GE(outcome.moves.size(), 2u);
  EXPECT_EQ(outcome.moves[1].axis, ClimbAxis::impl);
  EXPECT_EQ(Store::open_existing(place_.file("climb.sqlite"))
                .find_experiment(outcome.moves[0].experiment)
                ->next_action,
            "the axis impl, from the faster of these");
  const std::string text = climb_text(outcome, options());
  for (const char* part : {"out: ep ragged_a2a", "over the limit", "out: remat_mode=combine", "status 3",
                           "dp", "the model expects", "moehill bench --tokens 64"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST_F(ClimberTest, StartedAgainItRunsNothingAndComesToTheSame) {
  const ClimbOutcome first = climb(options());
  const int64_t runs = num_runs();
  const ClimbOutcome second = climb(options());
  EXPECT_EQ(num_runs(), runs);
  EXPECT_EQ(climb_text(second, options()), climb_text(first, options()));
}

TEST_F(ClimberTest, TheBudgetEndsItAndALargerOneGoesOn) {
  ClimbOptions small = options();
  small.budget_s = 0.5;
  const ClimbOutcome cut = climb(small);
  EXPECT_EQ(cut.end, ClimbEnd::budget);
  EXPECT_LT(cut.spent_s, 1.1 * small.budget_s);
  const int64_t runs = num_runs();
  const ClimbOutcome whole = climb(options());
  EXPECT_EQ(whole.end, ClimbEnd::worth);
  EXPECT_GT(num_runs(), runs);
  EXPECT_EQ(whole.winner.options["impl"], "fast");
  Store store = Store::open_existing(place_.file("climb.sqlite"));
  // The smaller climb may have begun moves from another configuration; this climb does not have these moves.
  std::set<std::string> names;
  for (const ClimbMove& move : whole.moves) names.insert(move.experiment);
  size_t num_found = 0;
  int64_t num_thresholds = 0;
  for (const StoredExperiment& e : store.experiments()) {
    // It may also have compared another winner.
    const bool is_total = e.name.find("-total-") != std::string::npos &&
                          store.points(e.id).at(1).options == whole.winner.resolved.options;
    if (!names.contains(e.name) && !is_total) continue;
    ++num_found;
    for (const std::string& text : e.expect) {
      EXPECT_EQ(parse_expectation(text).numerator[0].axis, "arm");
      ++num_thresholds;
    }
    EXPECT_FALSE(e.hypothesis.empty()) << e.name;
    EXPECT_FALSE(store.notes(e.id).empty()) << e.name;
    for (const StoredPoint& point : store.points(e.id))
      EXPECT_NE(point.state, RunState::pending) << point.label;
  }
  EXPECT_EQ(num_found, whole.moves.size() + 1) << "a move an experiment, and the total";
  EXPECT_GE(num_thresholds, 2) << "where the model has a word, and of the total";
}

// The first run tells how long runs take. An arm for which there is no time is left out, so that the rest can
// be decided.
TEST_F(ClimberTest, ASmallBudgetIsSpentOnWhatItCanDecide) {
  ClimbOptions small = options();
  small.base = {{"tokens", "64"}, {"parallel_mode", "none"}};  // of the axes that are left, impl comes first
  let_runs_take_a_second(small);
  for (const double budget : {40.0, 60.0}) {
    std::filesystem::remove(place_.file("climb.sqlite"));
    std::filesystem::remove(log_);
    small.budget_s = budget;
    const ClimbOutcome outcome = climb(small);
    const std::string text = climb_text(outcome, small);
    EXPECT_EQ(outcome.end, ClimbEnd::budget);
    EXPECT_LE(outcome.spent_s, 1.1 * budget) << text;
    EXPECT_GE(outcome.spent_s, budget / 2) << text;
    EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast") << text;
    EXPECT_NE(text.find("no time was left for: "), std::string::npos) << text;
    EXPECT_NE(text.find("ended: what is left to try does not fit the budget"), std::string::npos) << text;
    EXPECT_NE(text.find("not run: impl=preweight: the budget"), std::string::npos) << text;
  }
}

// Each start gives its number as the throughput. A larger budget also has time for the arms that smaller ones
// left out, and these arms run beside others of the same start.
TEST_F(ClimberTest, NoRoundHasRunsOfTwoStarts) {
  ClimbOptions o = impl_alone();
  let_runs_take_a_second(o);
  ClimbOutcome last;
  int start = 0;
  for (const double budget : {5.0, 25.0, 1e5}) {
    std::ofstream(lines_) << "tflops=" << ++start << "\n";
    o.budget_s = budget;
    o.begin_s = o.clock();
    last = climb(o);
  }
  EXPECT_EQ(last.end, ClimbEnd::worth);
  EXPECT_EQ(last.winner.options.value("impl", ""), "fast");
  Store store = Store::open_existing(place_.file("climb.sqlite"));
  std::set<int> all_starts;
  for (const StoredExperiment& e : store.experiments()) {
    std::map<int64_t, std::set<int>> starts;  // by round
    for (const StoredPoint& point : store.points(e.id))
      for (const StoredRecord& record : store.records(point.id))
        if (!record.json.contains("ablated"))
          starts[record.round].insert(record.json.at("tflops").get<int>());
    for (const auto& [round, of_round] : starts) {
      EXPECT_EQ(of_round.size(), 1u) << e.name << " round " << round;
      all_starts.insert(of_round.begin(), of_round.end());
    }
  }
  EXPECT_GE(all_starts.size(), 2u);
  const int64_t runs = num_runs();
  climb(o);
  EXPECT_EQ(num_runs(), runs) << "its own rounds are taken over";
}

TEST_F(ClimberTest, ARunThatTheBudgetEndsIsMadeByALargerOne) {
  ClimbOptions small = impl_alone();
  small.budget_s = 0.1;
  small.least_run_s = 0.05;
  std::ofstream(lines_) << "exec sleep 1000\n";
  EXPECT_EQ(climb(small).end, ClimbEnd::budget) << "and not a failure";
  std::filesystem::remove(lines_);
  const ClimbOutcome whole = climb(impl_alone());
  EXPECT_EQ(whole.end, ClimbEnd::worth);
  EXPECT_EQ(whole.winner.options.value("impl", ""), "fast");
}

TEST_F(ClimberTest, AWinnerWhoseLastCheckFailsIsNotKept) {
  const std::string fails = "case \"$*\" in *\"--impl fast\"*) exit 3;; esac\n";
  for (const char* start : {"first", "again"}) {
    const ClimbOutcome outcome = climb_with_last(fails);
    EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast") << start;
    EXPECT_EQ(outcome.end, ClimbEnd::last_check_failed) << start;
    EXPECT_FALSE(outcome.total) << start;
    EXPECT_NE(
        climb_text(outcome, impl_alone()).find("not kept for bench --climbed: winner: failed, status 3"),
        std::string::npos)
        << start << "\n"
        << climb_text(outcome, impl_alone());
  }
}

TEST_F(ClimberTest, AWinnerThatIsSlowerThanTheFirstIsNotKept) {
  const ClimbOutcome outcome = climb_with_last("case \"$*\" in *\"--impl fast\"*) ms=1300;; esac\n");
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  ASSERT_TRUE(outcome.total);
  EXPECT_LT(outcome.total->ratio, 0.9);
  EXPECT_NE(outcome.not_kept.find("slower"), std::string::npos) << outcome.not_kept;
}

// The machine becomes slower with each round, so that runs of different rounds must not be paired.
TEST_F(ClimberTest, TheLastComparisonPairsByRound) {
  const ClimbOutcome outcome = climb(impl_alone(), [&](const std::string& line, bool finished) {
    if (finished || !is_of_last(line)) return;
    const int round = std::stoi(line.substr(line.find(" round ") + 7));
    std::ofstream lines(lines_);
    lines << "ms=$((ms * " << round << "))\n";
    if (round == 2) lines << "case \"$*\" in *\"--impl fast\"*) rss=9000;; esac\n";
  });
  ASSERT_TRUE(outcome.total);
  EXPECT_EQ(outcome.total->n, 4);
  EXPECT_NEAR(outcome.total->ratio, 1 / 0.88, 0.03);
  EXPECT_NE(outcome.not_kept.find("over the limit"), std::string::npos) << outcome.not_kept;
}

TEST_F(ClimberTest, TheMostMovesAreNamedAsTheEnd) {
  ClimbOptions few = impl_alone();
  few.base.erase("routing_pack_strategy");
  few.most_moves = 1;
  const ClimbOutcome cut = climb(few);
  EXPECT_EQ(cut.end, ClimbEnd::moves) << climb_text(cut, few);
  EXPECT_EQ(cut.moves.size(), 1u);
  EXPECT_TRUE(cut.total);
  few.most_moves = 3;
  EXPECT_EQ(climb(few).end, ClimbEnd::worth) << "there are two axes, and one may be tried again";
}

// The best configuration so far is not the first one any more.
TEST_F(ClimberTest, WhatEndsItInALaterMoveIsNamed) {
  ClimbOptions o = impl_alone();
  o.base.erase("routing_pack_strategy");
  for (const int status : {3, 1}) {
    std::filesystem::remove(place_.file("climb.sqlite"));
    std::filesystem::remove(lines_);
    const ClimbOutcome outcome = climb(o, [&](const std::string& line, bool) {
      if (line.find("move 2") != std::string::npos) std::ofstream(lines_) << "exit " << status << "\n";
    });
    EXPECT_EQ(outcome.end, status == 3 ? ClimbEnd::check_failed : ClimbEnd::run_failed);
    EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast");
    const std::string text = climb_text(outcome, o);
    EXPECT_NE(text.find("ended: the "), std::string::npos) << text;
    EXPECT_NE(text.find("best configuration so far"), std::string::npos) << text;
  }
}

// bench refuses blocks with another backend. The arm that would keep the blocks adopted before is tried
// without them.
TEST_F(ClimberTest, WhatAnotherAxisHasSetDoesNotKeepAnArmOut) {
  host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                        const std::vector<std::string>& arguments) {
    ResolvedPoint point = one(command, launched, arguments);
    if (point.options["backend"] == "ragged_dot" && point.options.contains("blocks"))
      throw InputError("--blocks needs --backend gmm");
    return point;
  };
  std::ofstream(lines_)
      << R"(case "$*" in *"--blocks bt=16"*) ms=850;; *"--backend ragged_dot"*) ms=700;; esac
)";
  ClimbOptions o = impl_alone();
  o.base.erase("blocks");
  o.base.erase("backend");
  o.base["impl"] = "baseline";
  const ClimbOutcome outcome = climb(o);
  const std::string text = climb_text(outcome, o);
  ASSERT_GE(outcome.moves.size(), 2u) << text;
  EXPECT_EQ(outcome.moves[0].axis, ClimbAxis::blocks) << text;
  EXPECT_GT(outcome.moves[0].gain, 1) << text;
  EXPECT_EQ(outcome.winner.options.value("backend", ""), "ragged_dot") << text;
  EXPECT_FALSE(outcome.winner.options.contains("blocks")) << text;
}

// There is no time for the other arms of its round, which is then cut short.
TEST_F(ClimberTest, AFirstCheckThatFailsIsFoundInASmallBudget) {
  ClimbOptions small = impl_alone();
  small.budget_s = 0.024;
  std::ofstream(lines_) << "exit 3\n";
  EXPECT_EQ(climb(small).end, ClimbEnd::check_failed);
}

TEST_F(ClimberTest, WhatIsGivenIsKept) {
  ClimbOptions given = options();
  given.base["impl"] = "baseline";
  given.base["parallel_mode"] = "none";
  const ClimbOutcome outcome = climb(given);
  EXPECT_EQ(outcome.winner.options, given.base);
  EXPECT_FALSE(outcome.total);
  given.base["topk_list"] = "1,2";
  given.memory_bytes = 100;
  EXPECT_THROW(climb(given), InputError) << "the first configuration breaks the limit";
}

}  // namespace
}  // namespace moehill
