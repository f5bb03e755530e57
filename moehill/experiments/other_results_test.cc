// Tests of what is said of results that another build or another machine has left in a database.
#include "moehill/experiments/other_results.h"

#include <gtest/gtest.h>

#include "moehill/store/store_fixture.h"

namespace moehill {
namespace {

class OtherResultsTest : public testing::Test {
 protected:
  OtherResultsTest() : store_(Store::open_or_create(folder_.file("a.sqlite"))) {}

  static StoredJson provenance_of(const std::string& build, const std::string& cpu) {
    return {{"build", build}, {"compiler", "c"}, {"flags", ""},
            {"cpu", cpu},     {"cores", 2},      {"kernel", "AVX2"}};
  }
  // Stores a result of the first point by this build on this machine.
  void measure(const std::string& build, const std::string& cpu) {
    Journal journal(store_, this_process(), provenance_of(build, cpu));
    std::vector<StoredPoint> points = two_points();
    for (StoredPoint& point : points) point.identity += build + cpu;
    StoredExperiment experiment = small_experiment(1, 0);
    experiment.sizing = {{"command", "moehill climb"}};
    journal.save_plan(experiment, points);
    journal.finish(journal.claim(points[0].id, 0, 60).claim, done_in(1));
  }
  std::string note(const std::string& build, const std::string& cpu) {
    SweepHost host;
    host.provenance = provenance_of(build, cpu);
    return other_results_note(store_, experiments_named(store_, "small"), host);
  }

  TemporaryFolder folder_;
  Store store_;
};

TEST_F(OtherResultsTest, ARebuiltProgramSaysOnceWhyItBeginsAnew) {
  EXPECT_EQ(note("b, program 1", "cpu"), "") << "a new experiment";
  measure("b, program 1", "cpu");
  EXPECT_EQ(note("b, program 1", "cpu"), "") << "it goes on";
  EXPECT_EQ(note("b, program 2", "cpu"),
            "1 result in the database is of another build (b, program 1) and does not count for this one, "
            "which measures all points anew");
  measure("b, program 2", "cpu");
  EXPECT_EQ(note("b, program 2", "cpu"), "") << "it has results of its own by now";
  EXPECT_EQ(note("b, program 1", "cpu"), "") << "so has the first";
  EXPECT_NE(note("b, program 3", "cpu").find("2 results in the database are of another build"),
            std::string::npos);
}

TEST_F(OtherResultsTest, AnotherMachineIsSaidToo) {
  measure("b", "a CPU");
  EXPECT_NE(note("b", "another CPU").find("of another machine (a CPU)"), std::string::npos);
}

TEST_F(OtherResultsTest, ExperimentsOfAClimbAreFoundByItsCommand) {
  measure("b", "cpu");
  EXPECT_EQ(experiments_by(store_, "moehill climb").size(), 1u);
  EXPECT_TRUE(experiments_by(store_, "moehill climb --tokens 1").empty());
  EXPECT_TRUE(experiments_named(store_, "large").empty());
}

}  // namespace
}  // namespace moehill
