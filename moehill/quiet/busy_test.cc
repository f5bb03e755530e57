#include "moehill/quiet/busy.h"

#include <gtest/gtest.h>

#include "moehill/quiet/disturbance.h"

namespace moehill {
namespace {

TEST(Busy, WarnsOfOthersAndOfTooManyThreads) {
  const OwnWork own{2, 2, 1};
  EXPECT_EQ(busy_words(parse_machine_load("6.10 5.20 4.80 3/250 12345\n"), own),
            "the machine is busy: load 6.1 on 2 cores; figures are of a shared machine");
  EXPECT_EQ(busy_words(parse_machine_load("1.00 1.00 1.00 2/250 12345\n"), own),
            "the machine is busy: load 1.0 on 2 cores; figures are of a shared machine");
  EXPECT_EQ(busy_words(parse_machine_load("0.10 0.10 0.10 1/250 12345\n"), {4, 2, 1}),
            "4 threads on 2 cores: they take turns");
}

TEST(Busy, NamesStolenCpusBesideTheRest) {
  MachineLoad load = parse_machine_load("0.10 0.10 0.10 1/250 12345\n");
  load.stolen = kOtherShare / 2;
  EXPECT_EQ(busy_words(load, {2, 2, 1}), "");
  load.stolen = 0.4;
  EXPECT_EQ(busy_words(load, {2, 2, 1}), "other virtual machines take 0.40 CPUs");
  load.average = 6.1;
  EXPECT_EQ(
      busy_words(load, {4, 2, 1}),
      "the machine is busy: load 6.1 on 2 cores; figures are of a shared machine; other virtual machines "
      "take 0.40 CPUs; 4 threads on 2 cores: they take turns");
}

// A run that ended a moment ago is still in the average, but disturbs nobody.
TEST(Busy, IsSilentAboutWhatIsOver) {
  EXPECT_EQ(busy_words(parse_machine_load("2.00 1.00 0.50 1/250 12345\n"), {2, 2, 1}), "");
  EXPECT_EQ(busy_words(parse_machine_load("0.20 1.00 0.50 3/250 12345\n"), {2, 2, 1}), "");
  EXPECT_EQ(busy_words(parse_machine_load("2.00 1.00 0.50 4/250 12345\n"), {2, 2, 4}), "") << "own processes";
  EXPECT_EQ(busy_words(parse_machine_load(""), {2, 2, 1}), "") << "a system that does not say";
}

}  // namespace
}  // namespace moehill
