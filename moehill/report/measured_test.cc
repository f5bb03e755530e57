// Tests of the figures of all rounds together, and of records that have none.
#include "moehill/report/measured.h"

#include <gtest/gtest.h>

#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

// A database written by another program may contain a throughput for such a step.
TEST(Measured, StepsThatLeftStagesOutAreNoResults) {
  StoredRecord whole{.round = 0, .json = block_record("none", 2, 1.0)}, arm = whole;
  arm.json["ablated"] = {"shared"};
  arm.json["tflops"] = 1000;
  const std::vector<Measured> measured = measure({arm, whole});
  ASSERT_EQ(measured.size(), 1u);
  EXPECT_EQ(measured[0].tflops, std::vector<double>{2});
  EXPECT_TRUE(measure({arm}).empty());
}

TEST(Measured, RecordsWithoutAPassedCheckAreNoResults) {
  const StoredRecord good{.round = 1, .json = block_record("none", 2, 1.0)};
  for (const char* status : {"failed", "off", "mistrusted"}) {
    StoredRecord bad{.round = 0, .json = block_record("none", 2, 0.001)};
    bad.json["check"]["status"] = status;
    const std::vector<Measured> measured = measure({bad, good});
    ASSERT_EQ(measured.size(), 1u) << status;
    EXPECT_EQ(measured[0].tflops, std::vector<double>{2}) << status;
    EXPECT_EQ(measured[0].first, good.json) << status;
    EXPECT_TRUE(measure({bad}).at(0).tflops.empty()) << status;
  }
}

// The share of disturbed rounds is one of the rounds with a figure, so it cannot exceed all of them.
TEST(Measured, ARoundWithoutAFigureIsNoDisturbedOne) {
  StoredRecord off{.round = 0, .disturbed = true, .json = block_record("none", 2, 1.0)};
  const StoredRecord good{.round = 1, .disturbed = true, .json = off.json};
  off.json["check"]["status"] = "off";
  const std::vector<Measured> measured = measure({off, good});
  ASSERT_EQ(measured.size(), 1u);
  EXPECT_EQ(measured[0].rounds.size(), 1u);
  EXPECT_EQ(measured[0].disturbed, 1);
}

// A point may name several values, choose its path anew in each run, or replay a file that was replaced.
TEST(Measured, RecordsOfUnlikeThingsAreNotOneResult) {
  const StoredRecord none{.round = 0, .json = block_record("none", 2, 1.0)};
  StoredRecord ep = none, again = none, replaced = none;
  ep.json = block_record("ep", 2, 0.5);
  again.round = replaced.round = 1;
  replaced.json["hash"]["plan"] = "of another file";
  const std::vector<Measured> measured = measure({none, ep, again, replaced});
  ASSERT_EQ(measured.size(), 3u);
  EXPECT_EQ(measured[0].seconds, (std::vector<double>{1, 1}));
  EXPECT_EQ(measured[0].rounds, (std::vector<int64_t>{0, 1}));
  EXPECT_EQ(measured[1].seconds, std::vector<double>{0.5});
  EXPECT_EQ(measured[2].first, replaced.json);
}

TEST(Measured, DifferencesTellSubjectsApartAndHashesOnlyWhereNothingElseDoes) {
  const StoredJson a = {{"topk", 2}, {"impl", "fast"}, {"plan", "p"}},
                   b = {{"topk", 8}, {"impl", "fast"}, {"plan", "q"}},
                   c = {{"topk", 2}, {"impl", "fast"}, {"plan", "r"}};
  const std::vector<StoredJson> by_option = differences_of({a, b}), by_hash = differences_of({a, b, c});
  EXPECT_EQ(difference_words(by_option.at(0)), "topk=2");
  EXPECT_EQ(difference_words(by_option.at(1)), "topk=8");
  EXPECT_EQ(difference_words(by_hash.at(2)), "topk=2 plan=r");
  EXPECT_EQ(difference_words(differences_of({a, a}).at(0)), "");
  EXPECT_EQ(told_apart({"x", "y", "x"}, {a, b, b}), (std::vector<std::string>{"x topk=2", "y", "x topk=8"}));
}

// The prediction of a step that routes leaves the router out.
TEST(Measured, APredictionIsOfTheWholeStepOrNone) {
  StoredRecord record{.round = 0, .json = block_record("none", 2, 1.0)};
  EXPECT_FALSE(predicted_seconds(measure({record}).at(0)));
  record.json["prediction"] = {{"time_s", 0.5}, {"stages", StoredJson::object()}, {"memory_bytes", 1.0}};
  EXPECT_EQ(predicted_seconds(measure({record}).at(0)), 0.5);
  record.json["config"]["route_in_step"] = false;
  EXPECT_EQ(predicted_seconds(measure({record}).at(0)), 0.5);
  record.json["config"]["route_in_step"] = true;
  EXPECT_FALSE(predicted_seconds(measure({record}).at(0)));
}

TEST(Measured, TimesThatAreNoneAreNoResults) {
  const StoredRecord good{.round = 1, .json = block_record("none", 2, 1.0)};
  for (const double seconds : {0.0, -1.0}) {
    StoredRecord bad{.round = 0, .json = good.json};
    bad.json["time_s"]["median"] = seconds;
    EXPECT_EQ(measure({bad, good}).at(0).seconds, std::vector<double>{1}) << seconds;
  }
}

TEST(Measured, TheCpuTimeOfARoundIsThatOfAllProcesses) {
  StoredRecord first{.round = 0, .json = block_record("none", 2, 1.0)};
  const StoredRecord second{.round = 1, .json = first.json};
  first.json["time_s"]["cpu_s"] = {0.5, 0.25};
  EXPECT_EQ(measure({first, second}).at(0).cpu_seconds, (std::vector<Figure>{0.75, std::nullopt}));
}

TEST(Measured, TheHostAndProcessOfEachRoundAreKnown) {
  StoredRecord first{.round = 0, .json = block_record("none", 2, 1.0)}, second = first, third = first;
  first.json["env"]["host"] = "one";
  first.json["process"]["id"] = "a";
  second.round = 1;
  second.json["env"]["host"] = "two";
  third.round = 2;
  const std::vector<Measured> measured = measure({first, second, third});
  ASSERT_EQ(measured.size(), 1u);
  EXPECT_EQ(measured[0].hosts, (std::vector<std::string>{"one", "two", ""}));
  EXPECT_EQ(measured[0].processes, (std::vector<std::string>{"a", "", ""}));
}

}  // namespace
}  // namespace moehill
