// Tests of the journal: which point a sweep runs next, after interruptions, failed attempts, disturbed
// rounds, owners that died, and plans that were edited between two runs.
#include "moehill/store/journal.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/store/store_fixture.h"

namespace moehill {
namespace {

class JournalTest : public testing::Test {
 protected:
  JournalTest() : store_(Store::open_or_create(folder_.file("a.sqlite"))) {}

  Journal journal(const ProcessIdentity& owner = this_process()) { return {store_, owner, {{"build", "b"}}}; }
  RunState state(int64_t experiment_id, size_t i) { return store_.points(experiment_id)[i].state; }

  AttemptResult ended(RunState state) {
    AttemptResult result;
    result.state = state;
    result.exit_status = 5;
    result.output_tail = "why";
    return result;
  }

  TemporaryFolder folder_;
  Store store_;
  std::vector<StoredPoint> points_ = two_points();
};

TEST_F(JournalTest, APointIsDoneWithAResultForEveryRound) {
  Journal j = journal();
  const int64_t id = j.save_plan(small_experiment(2, 0), points_);
  for (int64_t round = 0; round < 2; ++round) {
    EXPECT_EQ(state(id, 0), RunState::pending);
    const ClaimAnswer answer = j.claim(points_[0].id, round, 60);
    ASSERT_EQ(answer.state, ClaimState::claimed);
    EXPECT_EQ(state(id, 0), RunState::running);
    j.finish(answer.claim, done_in(1));
    EXPECT_EQ(j.claim(points_[0].id, round, 60).state, ClaimState::settled);
  }
  EXPECT_EQ(state(id, 0), RunState::done);
  EXPECT_EQ(state(id, 1), RunState::pending);
}

TEST_F(JournalTest, ExpectationsThatStoodBeforeTheFirstResultAreKept) {
  Journal j = journal();
  StoredExperiment experiment = small_experiment(1, 0);
  const auto save = [&](const std::string& expectation) {
    experiment.expect = {expectation};
    j.save_plan(experiment, points_);
    return store_.experiments().at(0).sizing;
  };
  save("first");
  EXPECT_FALSE(save("second").contains(kExpectBefore)) << "no result stood against it";
  j.finish(j.claim(points_[0].id, 0, 60).claim, done_in(1));
  EXPECT_EQ(save("third").value(kExpectBefore, StoredJson()), StoredJson::array({"second"}));
  EXPECT_EQ(save("fourth").value(kExpectBefore, StoredJson()), StoredJson::array({"second"}));
  EXPECT_FALSE(save("second").contains(kExpectBefore));
}

TEST_F(JournalTest, AnExperimentThatSomebodyEditedIsReadStrictly) {
  Journal j = journal();
  j.save_plan(small_experiment(1, 0), points_);
  for (const std::string column : {"sizing = '{\"a\": 1, \"a\": 2}'", "expect = '[1, 2'"}) {
    Database database(folder_.file("a.sqlite"), Access::read_write);
    database.execute("PRAGMA ignore_check_constraints = ON");
    database.execute("UPDATE experiment SET " + column);
    EXPECT_THROW(j.save_plan(small_experiment(1, 0), points_), InputError) << column;
  }
}

TEST_F(JournalTest, RetriesAreBoundedAndForgivenOnRequest) {
  Journal j = journal();
  const int64_t id = j.save_plan(small_experiment(3, 1), points_);
  for (int i = 0; i < 2; ++i) j.finish(j.claim(points_[0].id, 0, 60).claim, ended(RunState::timeout));
  EXPECT_EQ(j.claim(points_[0].id, 0, 60).state, ClaimState::given_up);
  EXPECT_EQ(j.claim(points_[0].id, 1, 60).state, ClaimState::given_up);
  EXPECT_EQ(state(id, 0), RunState::timeout);
  EXPECT_EQ(store_.attempts(points_[0].id)[0].output_tail, "why");
  EXPECT_EQ(j.claim(points_[1].id, 0, 60).state, ClaimState::claimed);
  j.forgive_failures(id);
  EXPECT_EQ(state(id, 0), RunState::pending);
}

TEST_F(JournalTest, AnInterruptedAttemptIsNoFailure) {
  Journal j = journal();
  const int64_t id = j.save_plan(small_experiment(1, 0), points_);
  for (int i = 0; i < 5; ++i) j.finish(j.claim(points_[0].id, 0, 60).claim, ended(RunState::interrupted));
  EXPECT_EQ(state(id, 0), RunState::interrupted);
  j.finish(j.claim(points_[0].id, 0, 60).claim, done_in(1));
  EXPECT_EQ(state(id, 0), RunState::done);
}

TEST_F(JournalTest, DisturbedRoundsAreRepeatedOnceAndAQuarterInAll) {
  Journal j = journal();
  j.save_plan(small_experiment(2, 0), points_);  // four runs: one repeat
  AttemptResult disturbed = done_in(1);
  disturbed.disturbed = true;
  for (int64_t round = 0; round < 2; ++round) j.finish(j.claim(points_[0].id, round, 60).claim, disturbed);
  const ClaimAnswer again = j.claim(points_[0].id, 1, 60);
  ASSERT_EQ(again.state, ClaimState::claimed);
  EXPECT_TRUE(again.claim.repeat);
  j.finish(again.claim, disturbed);
  for (int64_t round = 0; round < 2; ++round)
    EXPECT_EQ(j.claim(points_[0].id, round, 60).state, ClaimState::settled) << round;
  EXPECT_EQ(store_.records(points_[0].id).size(), 2u);
}

TEST_F(JournalTest, OnlyADisturbedResultIsReplacedAndOnlyByAnUndisturbedOne) {
  Journal j = journal();
  j.save_plan(small_experiment(3, 0), points_);  // six runs: two repeats
  AttemptResult disturbed = done_in(1), again = done_in(3);
  disturbed.disturbed = again.disturbed = true;
  for (int64_t round = 0; round < 2; ++round) j.finish(j.claim(points_[0].id, round, 60).claim, disturbed);
  j.finish(j.claim(points_[0].id, 0, 60).claim, done_in(2));
  j.finish(j.claim(points_[0].id, 1, 60).claim, again);
  ASSERT_EQ(store_.records(points_[0].id).size(), 2u);
  EXPECT_EQ(store_.records(points_[0].id)[0].json["time_s"]["median"], 2.0);
  EXPECT_EQ(store_.records(points_[0].id)[1].json["time_s"]["median"], 1.0);
}

TEST_F(JournalTest, OneAttemptOnAMachineAtATime) {
  Journal ours = journal(), theirs = journal();
  ours.save_plan(small_experiment(1, 0), points_);
  const ClaimAnswer first = ours.claim(points_[0].id, 0, 60);
  ASSERT_EQ(first.state, ClaimState::claimed);
  EXPECT_EQ(theirs.claim(points_[0].id, 0, 60).state, ClaimState::elsewhere);
  EXPECT_EQ(theirs.claim(points_[1].id, 0, 60).state, ClaimState::machine_busy);
  ours.finish(first.claim, done_in(1));
  EXPECT_EQ(theirs.claim(points_[0].id, 0, 60).state, ClaimState::settled);
  EXPECT_EQ(theirs.claim(points_[1].id, 0, 60).state, ClaimState::claimed);
}

// One process measures several points at once; another process waits until all of them have ended.
TEST_F(JournalTest, OneProcessMayClaimSeveralPointsOfARun) {
  ProcessIdentity other = this_process();
  other.start_ticks += 1;
  Journal ours = journal();
  ours.save_plan(small_experiment(1, 0), points_);
  const ClaimAnswer first = ours.claim(points_[0].id, 0, 60);
  ASSERT_EQ(first.state, ClaimState::claimed);
  EXPECT_EQ(journal(other).claim(points_[1].id, 0, 60, true, Beside::own_runs).state,
            ClaimState::machine_busy);
  EXPECT_EQ(ours.claim(points_[0].id, 0, 60, true, Beside::own_runs).state, ClaimState::elsewhere);
  const ClaimAnswer second = ours.claim(points_[1].id, 0, 60, true, Beside::own_runs);
  ASSERT_EQ(second.state, ClaimState::claimed);
  ours.finish(first.claim, done_in(1));
  ours.finish(second.claim, done_in(1));
  EXPECT_EQ(store_.records(points_[1].id).size(), 1u);
}

TEST_F(JournalTest, WhatADeadOwnerHeldIsFree) {
  ProcessIdentity dead = this_process();
  dead.start_ticks += 1;
  Journal before = journal(dead), now = journal();
  const int64_t id = before.save_plan(small_experiment(1, 0), points_);
  const ClaimAnswer lost = before.claim(points_[0].id, 0, 60);
  ASSERT_EQ(lost.state, ClaimState::claimed);
  const ClaimAnswer taken = now.claim(points_[0].id, 0, 60);
  ASSERT_EQ(taken.state, ClaimState::claimed);
  before.finish(lost.claim, done_in(9));  // not dead after all: too late
  now.finish(taken.claim, done_in(1));
  ASSERT_EQ(store_.records(points_[0].id).size(), 1u);
  EXPECT_EQ(store_.records(points_[0].id)[0].json["time_s"]["median"], 1.0);
  EXPECT_EQ(store_.attempts(points_[0].id)[0].state, RunState::interrupted);
  EXPECT_EQ(state(id, 0), RunState::done);
}

TEST_F(JournalTest, AnOwnerOnAnotherHostHasUntilItsDeadline) {
  ProcessIdentity elsewhere = this_process();
  elsewhere.host += "-not";
  Journal theirs = journal(elsewhere), ours = journal();
  theirs.save_plan(small_experiment(1, 0), points_);
  ASSERT_EQ(theirs.claim(points_[0].id, 0, 3600).state, ClaimState::claimed);
  EXPECT_EQ(ours.claim(points_[0].id, 0, 60).state, ClaimState::elsewhere);
  const ClaimAnswer other_point = ours.claim(points_[1].id, 0, 60);  // two machines measure at the same time
  ASSERT_EQ(other_point.state, ClaimState::claimed);
  ours.finish(other_point.claim, done_in(1));
  ProcessIdentity overdue = this_process();
  overdue.host += "-nor-that";
  ASSERT_EQ(journal(overdue).claim(points_[1].id, 0, -1).state, ClaimState::settled);
  std::vector<StoredPoint> third = two_points();
  third[0].identity = "a third";
  ours.save_plan(small_experiment(1, 0), third);
  ASSERT_EQ(journal(overdue).claim(third[0].id, 0, -1).state,
            ClaimState::claimed);  // its time is over at once
  EXPECT_EQ(ours.claim(third[0].id, 0, 60).state, ClaimState::claimed);
}

TEST_F(JournalTest, AnEditedPlanKeepsWhatStillBelongs) {
  Journal j = journal();
  const int64_t id = j.save_plan(small_experiment(1, 0), points_);
  j.finish(j.claim(points_[0].id, 0, 60).claim, done_in(1));
  j.finish(j.claim(points_[1].id, 0, 60).claim, done_in(1));
  std::vector<StoredPoint> edited = two_points();
  edited[1].identity = "another build";
  EXPECT_EQ(j.save_plan(small_experiment(1, 0), edited), id);
  EXPECT_EQ(state(id, 0), RunState::done);
  EXPECT_EQ(state(id, 1), RunState::pending);
  EXPECT_EQ(store_.points(id).size(), 2u);
  EXPECT_EQ(store_.old_points(id).size(), 1u);
  EXPECT_EQ(store_.points_with("another build").size(), 1u);
  EXPECT_EQ(store_.points_with(two_points()[1].identity).front().id, store_.old_points(id).front().id);
  j.save_plan(small_experiment(2, 0), edited);  // one more round wanted
  EXPECT_EQ(state(id, 0), RunState::pending);
}

}  // namespace
}  // namespace moehill
