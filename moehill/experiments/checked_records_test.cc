// Tests that later runs of a point are told of its checked results, with a script in place of the program.
#include "moehill/experiments/checked_records.h"

#include <gtest/gtest.h>

#include "moehill/experiments/driver_fixture.h"

namespace moehill {
namespace {

// Runs that print a record of a checked result, and keep what they are told of checked ones in a file.
class CheckedResultsTest : public DriverTest {
 protected:
  // The point's number is in its options. There is a record for each of the numbers of `records`.
  void write_checked(const std::string& hashes, const std::string& status = "passed",
                     const std::string& records = "1") {
    write_program("case \"$*\" in *--checked*) for last; do :; done; cat \"$last\" >>" + told_ +
                  ";; esac; for n in " + records +
                  R"(; do echo "{\"schema\":\"moehill/1\",\"process\":{\"id\":\"run$3\"},\"tflops\":1,)"
                  R"(\"config\":{\"a\":$3,\"n\":$n},\"check\":{\"status\":\")" +
                  status + R"(\"},\"hash\":{)" + hashes +
                  R"(},\"time_s\":{\"median\":1,\"samples\":[1,2]}}"; done)");
  }
  // Runs so many rounds of the first points and returns how often a run was told of a checked result.
  int64_t told_in(const std::string& name, int64_t rounds, const std::string& launcher = "") {
    SweepPlan p = plan_of_one_round(2);
    p.experiment.name = name;
    p.experiment.rounds = rounds;
    p.experiment.launcher = launcher;
    p.experiment.retries = 0;
    std::ofstream(told_, std::ios::trunc);
    Store store = Store::open_or_create(database_);
    DriverOptions options = race_of_one_round();
    options.goes_on = [](int64_t) { return true; };
    options.affords = [](double) { return false; };  // no run is repeated
    options.wants = [](size_t, int64_t) { return true; };
    options.takes_checks_over = takes_checks_over_;
    run_sweep(store, p, host_, options);
    std::ifstream file(told_);
    int64_t lines = 0;
    for (std::string line; std::getline(file, line); ++lines) last_ = line;
    return lines;
  }

  const std::string hashes_ = R"(\"operands\":\"1\",\"results\":\"2\",\"other_results\":\"3\")";
  const std::string told_ = folder_.file("told");
  bool takes_checks_over_ = true;
  std::string last_;
};

TEST_F(CheckedResultsTest, LaterRunsAreToldOfThem) {
  write_checked(hashes_);
  EXPECT_EQ(told_in("a", 3), 4);
  const StoredJson record = StoredJson::parse(last_);
  EXPECT_EQ(record["check"]["status"], "passed");
  EXPECT_EQ(record["config"]["a"], record["process"]["id"] == "run0" ? 0 : 1);
  EXPECT_EQ(record["hash"]["results"], "2");
  EXPECT_FALSE(record.contains("time_s")) << "it has what a check needs";
  // Another experiment has the same points.
  EXPECT_EQ(told_in("b", 2), 4);
}

TEST_F(CheckedResultsTest, AllRecordsOfOneEarlierRunAreTold) {
  write_checked(hashes_, "passed", "1 2 3");
  EXPECT_EQ(told_in("a", 3), 2 * 2 * 3) << "two points, two later rounds";
  EXPECT_EQ(StoredJson::parse(last_)["config"]["n"], 3);
}

TEST_F(CheckedResultsTest, ADamagedRecordOfAnotherExperimentStopsNoSweep) {
  write_checked(hashes_);
  EXPECT_EQ(told_in("a", 1), 0);
  Database(database_, Access::read_write)
      .execute("UPDATE record SET json = json_set(json, '$.time_s.samples', 'x')");
  EXPECT_EQ(told_in("b", 2), 2) << "the second round is told of the first";
  EXPECT_EQ(number_of("attempt WHERE state = 'done'"), 2 + 2 * 2);
}

TEST_F(CheckedResultsTest, OnlyPassedOnesWithHashesAreTold) {
  write_checked(hashes_, "mistrusted");
  EXPECT_EQ(told_in("a", 2), 0);
  write_checked(R"(\"operands\":\"1\",\"results\":\"2\")");
  EXPECT_EQ(told_in("b", 2), 0);
}

TEST_F(CheckedResultsTest, ARaceMayLetEveryRunCheck) {
  write_checked(hashes_);
  takes_checks_over_ = false;
  EXPECT_EQ(told_in("a", 2), 0);
}

TEST_F(CheckedResultsTest, ProcessesOfALauncherMayBeOnOtherMachines) {
  write_checked(hashes_);
  EXPECT_EQ(told_in("a", 2, "env"), 0);
}

}  // namespace
}  // namespace moehill
