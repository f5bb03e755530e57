// Tests of sweeps with a small script in place of the program: kills, a full disk, two sweeps at once,
// failing points.
#include "moehill/experiments/driver_fixture.h"

#include <fmt/format.h>
#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <atomic>
#include <csignal>
#include <fstream>
#include <iostream>
#include <limits>
#include <random>
#include <set>
#include <thread>

namespace moehill {
namespace {

TEST_F(DriverTest, OtherWorkIsNotedOfTheRunsBesideIt) {
  write_program("sleep 0.3; " + print_record("[1, 2]"));
  SweepPlan p = plan_of_one_round(1);
  std::atomic<bool> is_over = false;
  std::thread rival([&] {
    while (!is_over) continue;
  });
  Store store = Store::open_or_create(database_);
  DriverOptions options;
  options.show = [](const std::string&, bool) {};
  run_sweep(store, p, host_, options);
  is_over = true;
  rival.join();
  EXPECT_GE(number_of("attempt"), 1);
  EXPECT_EQ(number_of("attempt WHERE disturbed = 0 OR disturbance NOT LIKE '%CPUs%'"), 0);
}

TEST_F(DriverTest, RunsEveryRoundOfEveryPointOnce) {
  const SweepOutcome outcome = sweep();
  EXPECT_EQ(outcome.end, SweepEnd::done);
  EXPECT_EQ(outcome.counts.done, kPoints);
  expect_complete();
  const int64_t runs = runs_started();
  EXPECT_EQ(runs, number_of("attempt"));
  EXPECT_EQ(sweep().counts.started, 0);  // nothing is left to do
  EXPECT_EQ(runs_started(), runs);
  // The order is round by round: no point is more than a round ahead of another.
  EXPECT_EQ(text_of("SELECT max(late.round) FROM attempt early JOIN attempt late ON late.id < early.id WHERE "
                    "late.round > early.round AND early.id <= 40"),
            "");
}

TEST_F(DriverTest, RunsAllRoundsOfAPointBeforeTheNextIfAPlanSaysSo) {
  SweepPlan p = plan();
  p.interleave = false;
  p.experiment.rounds = 2;
  Store store = Store::open_or_create(database_);
  DriverOptions options;
  options.show = [](const std::string&, bool) {};
  run_sweep(store, p, host_, options);
  EXPECT_EQ(results().size(), 2u * kPoints);
  EXPECT_EQ(number_of("attempt WHERE round > 1"), 0);
  EXPECT_EQ(number_of("attempt early JOIN attempt late ON early.id < late.id WHERE late.id <= 10 AND "
                      "early.point_id > late.point_id"),
            0);
}

TEST_F(DriverTest, ADisturbedRunOfAnEarlierSweepIsMadeAgain) {
  SweepPlan p = plan_of_one_round(1);
  Store store = Store::open_or_create(database_);
  Journal journal(store, this_process(), StoredJson::object());
  journal.save_plan(p.experiment, p.points);
  AttemptResult disturbed = done_in(1);
  disturbed.disturbed = true;
  journal.finish(journal.claim(p.points[0].id, 0, 60).claim, disturbed);
  DriverOptions options;
  options.show = [](const std::string&, bool) {};
  run_sweep(store, p, host_, options);
  EXPECT_EQ(runs_started(), 1);
}

// The first run lacks most of its cores' peak. Of three runs one may be repeated, and no sooner than all have
// a result.
TEST_F(DriverTest, ADisturbedRunIsMadeAgainAfterAllOthers) {
  write_program("peak=1\n[ $(wc -l <" + log_ + ") -gt 1 ] || peak=0.1\n" +
                R"(echo '{"schema":"moehill/1","tflops":1,"check":{"status":"passed"},"peak":)" +
                R"({"tflops_measured":1,"tflops_typical":'$peak'},"time_s":{"median":1,"samples":[1]}}')");
  SweepPlan p = plan_of_one_round(3);
  Store store = Store::open_or_create(database_);
  DriverOptions options;
  options.show = [](const std::string&, bool) {};
  run_sweep(store, p, host_, options);
  EXPECT_EQ(number_of("attempt"), 4);
  const std::string order = "SELECT p.label FROM attempt a JOIN point p ON p.id = a.point_id ORDER BY a.id ";
  for (int i = 0; i < 4; ++i)
    EXPECT_EQ(text_of(order + "LIMIT 1 OFFSET " + std::to_string(i)), fmt::format("p{}", i % 3)) << i;
}

// The time that is left is that of the runs so far, for each run that is left.
TEST_F(DriverTest, TellsWhatItDoesWhatCameOfItAndWhatIsLeft) {
  signal(SIGINT, SIG_DFL);  // a script that runs the tests in the background ignores it
  SweepPlan p = plan();
  p.experiment.rounds = 10000;
  for (StoredPoint& point : p.points) point.predicted_seconds = 60;
  std::vector<std::string> begun, ended;
  DriverOptions options;
  options.show = [&](const std::string& text, bool finished) {
    (finished ? ended : begun).push_back(text);
    if (ended.size() == 3) kill(getpid(), SIGINT);
  };
  Store store = Store::open_or_create(database_);
  EXPECT_EQ(run_sweep(store, p, host_, options).end, SweepEnd::interrupted);
  ASSERT_EQ(begun.size(), 3u);
  ASSERT_EQ(ended.size(), 3u);
  EXPECT_EQ(begun[0], "[0/50000] 5m left, 0 failed; p0 round 1");
  EXPECT_NE(begun[1].find("; p1 round 1; last: p0 round 1: done in "), std::string::npos) << begun[1];
  double measured = 0;
  for (size_t i = 0; i < 3; ++i) measured += store.attempts(p.points[i].id).at(0).seconds;
  const std::string last =
      fmt::format("[3/50000] {} left, 0 failed; p2 round 1: done in ", duration_text(measured / 3 * 49997));
  EXPECT_EQ(ended[2].substr(0, last.size()), last);
}

TEST_F(DriverTest, FiftyKillsLoseNothing) {
  constexpr int kKills = 50;
  std::mt19937 random(7);
  std::set<std::string> before;
  for (int i = 0; i < kKills; ++i) {
    const pid_t driver = start_sweep();
    // Half of the kills come early, while the sweep opens the database, saves the plan and closes the
    // attempts of dead owners.
    usleep(std::uniform_int_distribution<useconds_t>(0, i % 2 == 0 ? 25000 : 120000)(random));
    kill(driver, SIGKILL);
    wait_for(driver);
    if (!std::filesystem::exists(database_) || number_of("sqlite_master") == 0) continue;
    ASSERT_EQ(text_of("PRAGMA integrity_check"), "ok");
    const std::set<std::string> now = results();
    for (const std::string& result : before) ASSERT_EQ(now.count(result), 1u) << result;
    ASSERT_LE(number_of("attempt WHERE state = 'running'"), 1);
    before = now;
  }
  EXPECT_EQ(wait_for(start_sweep()), 0);
  expect_complete();
  EXPECT_LE(number_of("attempt WHERE state != 'done'"), kKills);  // at most the one that was running
  EXPECT_LE(runs_started(), number_of("attempt"));
}

TEST_F(DriverTest, TwoAtOnceShareTheWork) {
  const pid_t first = start_sweep(), second = start_sweep();
  EXPECT_EQ(wait_for(first), 0);
  EXPECT_EQ(wait_for(second), 0);
  expect_complete();
  EXPECT_EQ(number_of("attempt WHERE state != 'done'"), 0);
  EXPECT_EQ(runs_started(), number_of("attempt"));
}

TEST_F(DriverTest, OneOfTwoKilledLeavesTheRestToTheOther) {
  const pid_t first = start_sweep(), second = start_sweep();
  usleep(200000);
  kill(first, SIGKILL);
  wait_for(first);
  EXPECT_EQ(wait_for(second), 0);
  expect_complete();
  EXPECT_LE(number_of("attempt WHERE state != 'done'"), 1);
}

TEST_F(DriverTest, AFullDiskLeavesEarlierRows) {
  std::string samples = "[1";
  for (int i = 0; i < 3000; ++i) samples += ",1.5";
  write_program(print_record(samples + "]"));
  EXPECT_EQ(wait_for(start_sweep(600000)), 5);
  EXPECT_EQ(text_of("PRAGMA integrity_check"), "ok");
  const std::set<std::string> before = results();
  EXPECT_GT(before.size(), 0u);
  EXPECT_LT(before.size(), static_cast<size_t>(kPoints * kRounds));
  EXPECT_EQ(wait_for(start_sweep()), 0);  // the same command goes on
  expect_complete();
  const std::set<std::string> now = results();
  for (const std::string& result : before) EXPECT_EQ(now.count(result), 1u);
  EXPECT_EQ(number_of("sample s JOIN result r ON r.record_id = s.record_id"), 3001 * kPoints * kRounds);
}

TEST_F(DriverTest, AFailingPointIsStoredAndTheOthersGoOn) {
  write_program("if [ \"$3\" = 2 ]; then echo 'no such expert' >&2; exit 3; fi; " + print_record("[1]"));
  const SweepOutcome outcome = sweep();
  EXPECT_EQ(outcome.counts.done, kPoints - 1);
  EXPECT_EQ(outcome.counts.failed, 1);
  EXPECT_TRUE(outcome.check_failed);
  EXPECT_EQ(number_of("failure WHERE label = 'p2' AND exit_status = 3 AND output_tail = 'no such expert\n'"),
            2);  // one retry
  EXPECT_EQ(text_of("SELECT state FROM point WHERE label = 'p2'"), "failed");
}

// The store could not read such a record again.
TEST_F(DriverTest, ADeeplyNestedLineIsNoRecord) {
  const std::string deep = std::string(40, '[') + std::string(40, ']');
  write_program(R"(echo '{"schema":"moehill/1","deep":)" + deep + "}'");
  const SweepOutcome outcome = sweep();
  EXPECT_EQ(outcome.counts.done, 0);
  EXPECT_EQ(outcome.counts.failed, kPoints);
  EXPECT_EQ(number_of("record"), 0);
}

// Each of these prints a record for each point of a round, and then is one of a single point.
class SharedProcessTest : public DriverTest {
 protected:
  // The program prints what `round` says if it is asked for all points, and else one record.
  SweepOutcome sweep_together(const std::string& round) {
    write_round(round);
    return sweep_written();
  }
  void write_round(const std::string& round) {
    write_program("if [ \"$2\" = --all ]; then " + round + "; else " + print_record("[9]") + "; fi");
  }
  SweepPlan shared_plan() const {
    SweepPlan p = plan();
    p.shared.arguments = {"--all"};
    for (int i = 0; i < kPoints; ++i) {
      p.points[static_cast<size_t>(i)].options["topk"] = i;
      p.points[static_cast<size_t>(i)].options.update(more_options_);
      p.shared.points.push_back("topk=" + std::to_string(i));
    }
    return p;
  }
  SweepOutcome sweep_written() {
    SweepPlan p = shared_plan();
    Store store = Store::open_or_create(database_);
    DriverOptions options;
    options.show = [](const std::string&, bool) {};
    return run_sweep(store, p, host_, options);
  }
  // Starts another process, which ends with status 0 or, if it was interrupted, 75.
  pid_t start_written() {
    const pid_t pid = fork();
    if (pid != 0) return pid;
    try {
      _exit(sweep_written().end == SweepEnd::done ? 0 : 75);
    } catch (const std::exception& error) {
      std::cerr << error.what() << std::endl;
      _exit(5);
    }
  }
  std::string record_of(int topk) const {
    return R"(echo '{"schema":"moehill/1","config":{"topk":)" + std::to_string(topk) + more_config_ +
           R"(},"tflops":1,"check":{"status":"passed"},"time_s":{"median":1,"samples":[)" +
           std::to_string(topk) + "]}}'";
  }
  std::string all_records() const {
    std::string text = record_of(0);
    for (int i = 1; i < kPoints; ++i) text += "; " + record_of(i);
    return text;
  }

  StoredJson more_options_ = StoredJson::object();  // of all points
  std::string more_config_;                         // of all records, such as ,"ep_path":"fused"
};

TEST_F(SharedProcessTest, EachPointGetsItsRecord) {
  EXPECT_EQ(sweep_together(all_records()).counts.done, kPoints);
  expect_complete();
  EXPECT_GE(runs_started(), kRounds);
  EXPECT_LE(runs_started(), kRounds + kRounds * kPoints / 4) << "once more for disturbed ones at most";
  EXPECT_EQ(number_of("result r JOIN sample s ON s.record_id = r.record_id JOIN point p ON p.id = r.point_id "
                      "WHERE s.seconds != p.position"),
            0);
}

// If the process fails, each of its points runs alone under the claim that it has.
TEST_F(SharedProcessTest, AClaimHasTheTimeOfItsProcessAndOfEachPointAlone) {
  sweep_together(all_records());
  EXPECT_GE(number_of("attempt"), kPoints * kRounds);
  // Five points with 20 s each, twice, and 60 s. The start is stored in whole seconds.
  EXPECT_EQ(number_of("attempt WHERE deadline_epoch - strftime('%s', started_utc) NOT BETWEEN 259 AND 262"),
            0);
}

TEST_F(SharedProcessTest, PointsRunAloneOnceTheirProcessFails) {
  EXPECT_EQ(sweep_together(all_records() + "; exit 3").counts.done, kPoints);
  expect_complete();
  EXPECT_EQ(number_of("sample WHERE seconds != 9"), 0);
  EXPECT_EQ(runs_started(), number_of("attempt") + 1);
}

// A step that is wrong beside others may be right alone.
TEST_F(SharedProcessTest, ACheckThatFailsBesideOthersIsAFailureOfItsPoint) {
  const std::string failed =
      R"(echo '{"schema":"moehill/1","config":{"topk":2},"tflops":null,"check":)"
      R"({"status":"failed","reason":"a gate"},"time_s":{"median":null,"samples":[]}}')";
  std::string round;
  for (int i = 0; i < kPoints; ++i) round += (i == 2 ? failed : record_of(i)) + "; ";
  const SweepOutcome outcome = sweep_together(round + "exit 3");
  EXPECT_TRUE(outcome.check_failed);
  EXPECT_EQ(outcome.counts.done, kPoints - 1);
  EXPECT_EQ(
      number_of("failure WHERE label = 'p2' AND exit_status = 3 AND output_tail = 'check failed: a gate'"),
      2);  // one retry
  EXPECT_EQ(number_of("failure WHERE label != 'p2'"), 0);
  EXPECT_EQ(number_of("sample WHERE seconds = 9"), 0) << "nothing ran alone";
}

TEST_F(SharedProcessTest, AFailedCheckMayHaveNoReason) {
  const auto failed = [](int topk, const std::string& reason) {
    return R"(echo '{"schema":"moehill/1","config":{"topk":)" + std::to_string(topk) +
           R"(},"tflops":null,"check":{"status":"failed")" + reason +
           R"(},"time_s":{"median":null,"samples":[]}}'; )";
  };
  std::string round = failed(0, "") + failed(1, R"(,"reason":null)");
  for (int i = 2; i < kPoints; ++i) round += record_of(i) + "; ";
  const SweepOutcome outcome = sweep_together(round + "exit 3");
  EXPECT_EQ(outcome.counts.done, kPoints - 2);
  EXPECT_EQ(number_of("failure WHERE label IN ('p0', 'p1') AND output_tail = 'check failed'"), 2 * 2);
}

TEST_F(SharedProcessTest, RecordsOfOtherPointsAreNotTaken) {
  sweep_together(all_records() + "; " + record_of(5));
  EXPECT_EQ(number_of("sample WHERE seconds != 9"), 0) << "one record too many";
}

TEST_F(SharedProcessTest, RecordsInAnotherOrderAreNotTaken) {
  std::string text = record_of(kPoints - 1);
  for (int i = kPoints - 1; i-- > 0;) text += "; " + record_of(i);
  sweep_together(text);
  EXPECT_EQ(number_of("sample WHERE seconds != 9"), 0);
}

// Another path may lack what the default path has, and have what that lacks.
TEST_F(SharedProcessTest, APathThatTheRunChoseMayHaveOtherOptions) {
  more_options_ = {{"ep_path", "auto"}, {"shared_placement", "sliced"}, {"ring_split", nullptr}};
  more_config_ = R"(,"ep_path":"ring_ag_rs","shared_placement":null,"ring_split":"off")";
  sweep_together(all_records());
  EXPECT_EQ(number_of("sample WHERE seconds = 9"), 0) << "a process for each point";
}

TEST_F(SharedProcessTest, TunedBlocksAreNotThoseOfTheOptions) {
  more_options_ = {{"blocks", "bt=64"}};
  more_config_ = R"(,"blocks":"bt=128"},"tuned":"hit","more":{"a":1)";  // it ends the config
  sweep_together(all_records());
  EXPECT_EQ(number_of("sample WHERE seconds = 9"), 0) << "a process for each point";
}

TEST_F(SharedProcessTest, ARecordOfAnotherPathIsNotTaken) {
  more_options_ = {{"ep_path", "dense_masked"}};
  more_config_ = R"(,"ep_path":"fused")";
  sweep_together(all_records());
  EXPECT_EQ(number_of("sample WHERE seconds != 9"), 0);
}

// Points of two processes are not as comparable as those of one.
TEST_F(SharedProcessTest, TwoSweepsAtOnceShareTheRoundsAndNotTheirPoints) {
  write_round("sleep 0.01; " + all_records());
  const pid_t first = start_written(), second = start_written();
  EXPECT_EQ(wait_for(first), 0);
  EXPECT_EQ(wait_for(second), 0);
  expect_complete();
  EXPECT_EQ(number_of("(SELECT 1 FROM attempt WHERE counts = 1 GROUP BY round HAVING count(DISTINCT "
                      "owner_pid) > 1)"),
            0);
  EXPECT_EQ(runs_started() * kPoints, number_of("attempt"));
}

TEST_F(SharedProcessTest, SigintLeavesAllPointsOfTheRoundToTheNextSweep) {
  signal(SIGINT, SIG_DFL);  // a script that runs the tests in the background ignores it
  write_round("exec sleep 1000");
  const pid_t driver = start_written();
  for (int i = 0; i < 500 && runs_started() == 0; ++i) usleep(10000);
  kill(driver, SIGINT);
  EXPECT_EQ(wait_for(driver), 75);
  EXPECT_EQ(number_of("attempt WHERE state = 'interrupted'"), kPoints);
  EXPECT_EQ(number_of("attempt"), kPoints);
  EXPECT_EQ(sweep_together(all_records()).counts.done, kPoints);
  EXPECT_EQ(number_of("sample WHERE seconds = 9"), 0);
}

// Each of these prints a record for each point that the command names, in their order.
class SharedRaceTest : public SharedProcessTest {
 protected:
  // These lines of the script run before it prints the records of several points, or of one. The point $slow
  // lacks most of its cores' peak.
  void write_race(const std::string& before_all, const std::string& before_one) {
    write_program("if [ \"$2\" = --all ]; then " + before_all + "\n" + R"(
for word in "$@"; do
  case "$word" in topk=*)
    k=${word#topk=} peak=1
    [ "$k" != "$slow" ] || peak=0.1
    echo '{"schema":"moehill/1","config":{"topk":'$k'},"tflops":1,"check":{"status":"passed"},"peak":)" +
                  R"({"tflops_measured":1,"tflops_typical":'$peak'},"time_s":{"median":1,"samples":['$k']}}';;
  esac
done
else )" + before_one +
                  "\n" + print_record("[9]") + "; fi");
  }
  // Runs a race of that many rounds. All points run in the first one, and `wanted` after it.
  void race(int64_t num_rounds, const std::set<size_t>& wanted) {
    SweepPlan p = shared_plan();
    Store store = Store::open_or_create(database_);
    DriverOptions options;
    options.show = [](const std::string&, bool) {};
    options.wants = [&](size_t point, int64_t round) { return round == 0 || wanted.contains(point); };
    options.goes_on = [&](int64_t round) { return round + 1 < num_rounds; };
    options.limit = [&](const std::vector<size_t>& points) {
      processes_.push_back(points);
      return std::numeric_limits<double>::infinity();
    };
    run_sweep(store, p, host_, options);
  }
  int64_t num_lines_with(const std::string& text) const {
    std::ifstream file(log_);
    int64_t lines = 0;
    for (std::string line; std::getline(file, line);) lines += line.find(text) != std::string::npos ? 1 : 0;
    return lines;
  }
  // Both return a number of results: that processes of several points gave, or processes of one point.
  int64_t num_shared() const {
    return number_of(
        "result r JOIN sample s ON s.record_id = r.record_id JOIN point p ON p.id = r.point_id "
        "WHERE s.seconds = p.position");
  }
  int64_t num_alone() const { return number_of("sample WHERE seconds = 9"); }

  std::vector<std::vector<size_t>> processes_;  // the points of each, in the order of the runs
};

TEST_F(SharedRaceTest, OnlyThePointsThatARoundWantsAreInItsProcess) {
  write_race(":", ":");
  race(4, {0, 1, 3});
  EXPECT_EQ(num_shared(), kPoints + 3 * 3);
  EXPECT_EQ(results().size(), static_cast<size_t>(kPoints + 3 * 3));
  EXPECT_EQ(number_of("point WHERE state != 'done'"), 0) << "those that ran in one round only are done, too";
  EXPECT_EQ(num_alone(), 0);
  EXPECT_GE(num_lines_with("bench --all -L point topk=0 -L point topk=1 -L point topk=2 -L point topk=3 -L "
                           "point topk=4 --json -"),
            1);
  std::set<std::vector<size_t>> orders(processes_.begin(), processes_.end());
  orders.erase({0, 1, 2, 3, 4});
  EXPECT_EQ(orders, (std::set<std::vector<size_t>>{{3, 1, 0}, {1, 3, 0}, {0, 3, 1}}))
      << "no point is always the first";
}

TEST_F(SharedRaceTest, ThePointsThatPassShareAProcessAgain) {
  write_race("case \"$*\" in *topk=2*) exit 3;; esac", "case \"$*\" in *\"--point 2\"*) exit 3;; esac");
  race(3, {0, 1, 3, 4});
  EXPECT_EQ(num_lines_with("topk=2"), 1) << "its first process fails, and so it alone";
  EXPECT_GE(number_of("failure WHERE label = 'p2' AND exit_status = 3"), 1);
  EXPECT_EQ(results().size(), 3u * 4);
  EXPECT_EQ(num_shared(), 2 * 4);
  EXPECT_GE(num_alone(), 4);
}

TEST_F(SharedRaceTest, PointsThatFailOnlyTogetherShareNoMore) {
  write_race("exit 1", ":");
  race(3, {0, 1});
  EXPECT_EQ(num_lines_with("--all"), 1);
  EXPECT_EQ(results().size(), static_cast<size_t>(kPoints + 2 * 2));
  EXPECT_EQ(number_of("attempt WHERE state != 'done'"), 0);
}

// Otherwise its round would compare points of two processes.
TEST_F(SharedRaceTest, OtherWorkThatOnePointShowsRepeatsItsWholeProcess) {
  write_race("[ $(wc -l <" + log_ + ") -gt 1 ] || slow=3", ":");
  race(1, {});
  const std::vector<size_t> all = {0, 1, 2, 3, 4};
  EXPECT_EQ(processes_, (std::vector<std::vector<size_t>>{all, all}));
  EXPECT_EQ(number_of("attempt"), 2 * kPoints);
  EXPECT_GE(number_of("attempt WHERE disturbed = 1"), kPoints);
  EXPECT_EQ(num_shared(), kPoints);
}

TEST_F(SharedRaceTest, APointThatIsAloneInItsRoundSharesNothing) {
  write_race(":", ":");
  race(2, {4});
  EXPECT_EQ(num_lines_with("bench --point 4 --json -"),
            static_cast<int64_t>(processes_.size()) - num_lines_with("--all"));
  EXPECT_EQ(results().size(), static_cast<size_t>(kPoints + 1));
  EXPECT_GE(num_alone(), 1);
}

// The process that ends with its race's time says nothing of its points, so they do not run alone.
TEST_F(SharedRaceTest, AProcessThatItsRaceEndsCanStillBeRun) {
  write_race("exec sleep 1000", ":");
  SweepPlan p = shared_plan();
  Store store = Store::open_or_create(database_);
  DriverOptions options = race_of_one_round();
  options.limit = [](const std::vector<size_t>&) { return 0.02; };
  options.affords = [](double) { return false; };
  run_sweep(store, p, host_, options);
  EXPECT_EQ(number_of("attempt"), kPoints);
  EXPECT_EQ(number_of("attempt WHERE state != 'interrupted' OR seconds = 0"), 0);
  write_race(":", ":");
  SweepPlan again = shared_plan();
  run_sweep(store, again, host_, race_of_one_round());
  EXPECT_EQ(num_shared(), kPoints);
}

// The other sweep ends its run while this one waits for it.
TEST_F(DriverTest, ARaceTakesTheResultOfARunThatWasElsewhere) {
  SweepPlan p = plan_of_one_round(1);
  Store ours = Store::open_or_create(database_), theirs = Store::open_or_create(database_);
  Journal journal(theirs, this_process(), StoredJson::object());
  journal.save_plan(p.experiment, p.points);
  const ClaimAnswer other = journal.claim(p.points[0].id, 0, 60);
  ASSERT_EQ(other.state, ClaimState::claimed);
  bool has_ended = false;
  size_t num_results = 0;
  DriverOptions options = race_of_one_round();
  options.waits = [&] {
    if (!has_ended) journal.finish(other.claim, done_in(1));
    has_ended = true;
    return true;
  };
  options.goes_on = [&](int64_t) {
    num_results = ours.records(p.points[0].id).size();
    return false;
  };
  run_sweep(ours, p, host_, options);
  EXPECT_EQ(num_results, 1u);
  EXPECT_EQ(runs_started(), 0);
}

TEST_F(DriverTest, ARaceMayGiveUpWaiting) {
  SweepPlan p = plan_of_one_round(2);
  Store ours = Store::open_or_create(database_), theirs = Store::open_or_create(database_);
  Journal journal(theirs, this_process(), StoredJson::object());
  journal.save_plan(p.experiment, p.points);
  ASSERT_EQ(journal.claim(p.points[0].id, 0, 60).state, ClaimState::claimed);
  DriverOptions options = race_of_one_round();
  options.waits = [] { return false; };
  const SweepOutcome outcome = run_sweep(ours, p, host_, options);
  EXPECT_EQ(outcome.end, SweepEnd::done);
  EXPECT_EQ(outcome.counts.started, 0) << "one is run elsewhere, and the machine is busy for the other";
}

TEST_F(DriverTest, ARunThatItsRaceEndsCanStillBeMade) {
  write_program("exec sleep 1000");
  SweepPlan p = plan_of_one_round(1);
  Store store = Store::open_or_create(database_);
  DriverOptions options = race_of_one_round();
  options.limit = [](const std::vector<size_t>&) { return 0.02; };
  run_sweep(store, p, host_, options);
  EXPECT_GE(number_of("attempt"), 1);
  EXPECT_EQ(number_of("attempt WHERE state != 'interrupted'"), 0);
  write_program(print_record("[1, 2]"));
  SweepPlan again = plan_of_one_round(1);
  options.limit = [](const std::vector<size_t>&) { return 1000.0; };
  run_sweep(store, again, host_, options);
  EXPECT_EQ(results().size(), 1u);
}

TEST_F(DriverTest, SigintEndsItCleanly) {
  signal(SIGINT, SIG_DFL);  // a script that runs the tests in the background ignores it
  write_program("sleep 1000");
  const pid_t driver = start_sweep();
  for (int i = 0; i < 500 && runs_started() == 0; ++i) usleep(10000);
  kill(driver, SIGINT);
  EXPECT_EQ(wait_for(driver), 75);
  EXPECT_EQ(number_of("attempt WHERE state = 'interrupted'"), 1);
  EXPECT_EQ(number_of("attempt"), 1);
}

}  // namespace
}  // namespace moehill
