// Tests of the report of a climb: which arm it names for a move that adopted nothing, and what it says of
// gains that are not known.
#include "moehill/climb/climb_report.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

// Seconds of each arm in a round; none: the arm failed or did not run.
using RoundSeconds = std::vector<std::optional<double>>;

// Returns a move along `impl` that the budget ended after these rounds.
ClimbMove move_of(const std::vector<std::string>& labels, const std::vector<RoundSeconds>& rounds) {
  ClimbMove move;
  move.axis = ClimbAxis::impl;
  for (const std::string& label : labels) move.arms.push_back({label, StoredJson::object(), {}});
  move.result = {Race(labels.size(), {}), std::vector<MoveArmResult>(labels.size())};
  for (const RoundSeconds& round : rounds) move.result.race.add_round(round);
  move.result.race.end();
  return move;
}

class ClimbReport : public testing::Test {
 protected:
  ClimbReport() { outcome_.first.options = outcome_.winner.options = {{"tokens", "64"}}; }
  std::string text() const { return climb_text(outcome_, {}); }
  void expect_says(const std::string& part) const {
    EXPECT_NE(text().find(part), std::string::npos) << part << "\n" << text();
  }
  void expect_says_not(const std::string& part) const {
    EXPECT_EQ(text().find(part), std::string::npos) << part << "\n" << text();
  }

  ClimbOutcome outcome_;
};

// The arm "behind" ran in two rounds, in which it gained more than "ahead" gains in the confirming rounds.
TEST_F(ClimbReport, NamesTheFastestOfTheOthersAndNoneThatIsBehindAnother) {
  const RoundSeconds later = {1.0, std::nullopt, 0.70};
  outcome_.moves.push_back(
      move_of({"start", "behind", "ahead"},
              {{1.0, 0.65, 0.60}, {1.0, 0.651, 0.601}, {1.0, std::nullopt, 0.60}, later, later, later}));
  ASSERT_EQ(outcome_.moves[0].result.race.fate(1), ArmFate::behind);
  expect_says("none; fastest of the others: ahead +42.9 %");
  expect_says("not excluded: ahead may gain up to 42.9 %");
  expect_says_not("more rounds could tell");
  expect_says_not("behind +");
  outcome_.end = ClimbEnd::budget;
  expect_says("not excluded: ahead may gain up to 42.9 %; more rounds could tell");
}

// Two arms were ahead in the screening, and the one that was not confirmed may be the faster one.
TEST_F(ClimbReport, WhatMayBeFasterThanTheAdoptedArmIsNotExcluded) {
  ClimbMove move = move_of({"start", "adopted", "close"}, {});
  move.result.race = Race(3, {.most_screening = 3});
  for (const double noise : {0.98, 1.02, 1.0}) move.result.race.add_round({1.0, 0.8, 0.81 * noise});
  for (int i = 0; i < 5; ++i) move.result.race.add_round({1.0, 0.8, std::nullopt});
  ASSERT_EQ(move.result.race.winner(), 1u);
  EXPECT_EQ(open_arms(move, 0.02), std::vector<size_t>{2});
  EXPECT_TRUE(open_arms(move, 0.2).empty());
  outcome_.moves.push_back(move);
  expect_says("not excluded: close may gain up to ");
}

TEST_F(ClimbReport, AFurtherRaceThatTheBudgetEndsAtOnceSaysNothingNew) {
  outcome_.moves.push_back(move_of({"start", "fast"}, {{1.0, 0.9}, {1.0, 0.91}, {1.0, 0.9}}));
  ClimbMove further = move_of({"start", "fast"}, {{1.0, 1.1}});
  further.earlier = 1;
  outcome_.moves.push_back(further);
  EXPECT_EQ(last_move(outcome_.moves, ClimbAxis::impl), &outcome_.moves[0]);
  EXPECT_EQ(last_move(outcome_.moves, ClimbAxis::spread), nullptr);
  expect_says("not excluded: fast may gain up to ");
}

TEST_F(ClimbReport, WhatIsSlowerThanTheIncumbentIsNamedIfThereIsNoOther) {
  outcome_.moves.push_back(move_of({"start", "slow"}, {{1.0, 2.0}, {1.0, 2.001}}));
  expect_says("none; fastest of the others: slow -50.0 %, dropped: clearly slower than the fastest");
  expect_says_not("not excluded");
}

TEST_F(ClimbReport, ASingleRoundHasNoMostGain) {
  outcome_.moves.push_back(move_of({"start", "fast"}, {{1.0, 0.8}}));
  expect_says("not excluded: fast was 25.0 % faster in 1 round, and an interval needs 3");
  expect_says_not("may gain up to");
}

TEST_F(ClimbReport, AnArmThatFailedIsNoGain) {
  outcome_.moves.push_back(move_of({"start", "wrong", "slow"}, {{1.0, 0.5, 1.1}, {1.0, std::nullopt, 1.1}}));
  expect_says("none; fastest of the others: slow -9.1 %");
  expect_says_not("wrong");
}

TEST_F(ClimbReport, AnAxisThatIsTriedAgainIsOpenNoMore) {
  outcome_.moves.push_back(move_of({"start", "fast"}, {{1.0, 0.8}}));
  outcome_.moves.push_back(move_of({"start", "fast"}, {{1.0, 2.0}, {1.0, 2.001}}));
  expect_says_not("not excluded");
  outcome_.not_begun = {ClimbAxis::impl, ClimbAxis::backend};
  expect_says("no time was left for: impl once more, backend (");
}

TEST_F(ClimbReport, TheCommandOfTheWinnerHasItsBlocksAndQuotesWords) {
  outcome_.winner.options = {{"distribution", "trace:a file"}, {"impl", "fast"}, {"min_time", 0.02}};
  outcome_.winner.resolved.options = {{"impl", "fast"}, {"blocks", "bt=8,bf=16"}};
  EXPECT_EQ(winner_line(outcome_),
            "moehill bench --distribution 'trace:a file' --impl fast --blocks bt=8,bf=16");
  outcome_.winner.options["blocks"] = "bt=8";
  EXPECT_EQ(winner_line(outcome_), "moehill bench --distribution 'trace:a file' --impl fast --blocks bt=8");
}

TEST_F(ClimbReport, AWinnerThatWasNotMeasuredBesideTheFirstIsSaidToBe) {
  const std::string line = "no time was left to measure the winner beside what was asked for";
  expect_says_not(line);
  outcome_.winner.resolved.options = {{"impl", "fast"}};
  outcome_.end = ClimbEnd::budget;
  expect_says(line);
  outcome_.end = ClimbEnd::interrupted;
  expect_says_not(line);
}

}  // namespace
}  // namespace moehill
