#include "moehill/quiet/disturbance.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

constexpr const char* kStat =
    "cpu  100 50 200 9000 10 20 30 40 0 0\n"
    "cpu0 50 25 100 4500 5 10 15 20 0 0\n"
    "cpu1 50 25 100 4500 5 10 15 20 0 0\n"
    "intr 12345\n";

TEST(Disturbance, ReadsTheKernelsCounters) {
  const MachineTimes times = parse_machine_times(kStat, 100);
  EXPECT_EQ(times.busy, 4.0);
  EXPECT_EQ(times.stolen, 0.4);
  EXPECT_EQ(times.num_cpus, 2);
}

TEST(Disturbance, OthersAreWhatIsNotOurs) {
  const MachineTimes before{10, 0, 100, 2};
  EXPECT_EQ(disturbance_between(before, {12.05, 0.01, 101, 2}, 2.0, 1), "");
  EXPECT_EQ(disturbance_between(before, {12.5, 0, 101, 2}, 2.0, 1),
            "other work took 0.50 CPUs (load average before 1.0)");
  EXPECT_EQ(disturbance_between(before, {12, 0.5, 101, 2}, 2.0, -1), "0.50 CPUs were stolen");
  EXPECT_EQ(disturbance_between(before, before, 0, 1), "");
}

TEST(Disturbance, IsAShareOfTheTime) {
  const MachineTimes before{10, 0, 100, 2};
  EXPECT_EQ(disturbance_between(before, {15, 0, 104, 2}, 2.0, -1), "other work took 0.75 CPUs");
  EXPECT_EQ(disturbance_between(before, {12, 1, 102, 2}, 2.0, -1), "0.50 CPUs were stolen");
  EXPECT_EQ(disturbance_between({0, 0, 100, 2}, {kOtherShare, kStolenShare, 101, 2}, 0, 1), "")
      << "exactly what is allowed";
}

TEST(Disturbance, ATenthOfACpuAndThreeTicksLeaveAProcessAlone) {
  const MachineTimes before{10, 0, 100, 2, {7, 3}};
  EXPECT_TRUE(left_alone(before, {12.22, 0, 102, 2, {7, 3}}, 2.0));
  EXPECT_FALSE(left_alone(before, {12.24, 0, 102, 2, {7, 3}}, 2.0));
  EXPECT_FALSE(left_alone(before, {12.1, 0.2, 102, 2, {7, 3}}, 2.0)) << "stolen time counts";
  EXPECT_FALSE(left_alone(before, {12, 0, 102, 2, {8, 3.25}}, 2.0)) << "a wait for the quota";
}

TEST(Disturbance, AWaitForTheQuotaIsOne) {
  const MachineTimes before{10, 0, 100, 2, {7, 3}};
  EXPECT_EQ(disturbance_between(before, {12, 0, 101, 2, {7, 3}}, 2.0, 1), "");
  EXPECT_EQ(disturbance_between(before, {12, 0, 101, 2, {8, 3.25}}, 2.0, -1),
            "the CPU quota stopped it 1 time, 0.25 s summed over CPUs");
  EXPECT_EQ(disturbance_between(before, {12, 0.5, 101, 2, {9, 3.5}}, 2.0, 1),
            "0.50 CPUs were stolen, the CPU quota stopped it 2 times, 0.50 s summed over CPUs (load average "
            "before 1.0)");
}

TEST(Disturbance, OthersHaveWhatIsNotOursAndWhatIsStolen) {
  EXPECT_DOUBLE_EQ(others_seconds({10, 1, 100, 2}, {13, 1, 102, 2}, 2.5), 0.5);
  EXPECT_DOUBLE_EQ(others_seconds({10, 1, 100, 2}, {12, 1.25, 102, 2}, 2), 0.25);
  EXPECT_DOUBLE_EQ(others_seconds({10, 1, 100, 2}, {12, 1, 102, 2}, 2), 0);
  EXPECT_DOUBLE_EQ(stolen_cpus({10, 1, 100, 2}, {12, 1.25, 102, 2}), 0.125);
  EXPECT_DOUBLE_EQ(stolen_cpus({10, 1, 100, 2}, {10, 1, 100, 2}), 0) << "no time has passed";
}

TEST(Disturbance, HalfOfThePeakIsALostCore) {
  EXPECT_EQ(lost_peak(0.1, 0.2), "the cores gave 50 % of their peak");
  EXPECT_EQ(lost_peak(0.17, 0.2), "");
  EXPECT_EQ(lost_peak(0.2, 0.2), "");
  EXPECT_EQ(lost_peak(0, 0.2), "");  // a record without a peak
}

TEST(HeldUp, AStopIsSeenAndAStepThatWaitsIsNot) {
  std::vector<SampleTime> samples = {{3.1, 3.0}};
  EXPECT_FALSE(is_held_up(samples)) << "nothing to compare it with";
  samples = {{0.031, 0.001}, {0.033, 0.002}, {3.03, 3.0}};
  EXPECT_TRUE(is_held_up(samples)) << "a stop of 3 s in a step of 31 ms";
  samples.push_back({0.032, 0.001});
  EXPECT_FALSE(is_held_up(samples));
  samples = {{2.0, 0.1}, {5.0, 3.1}};
  EXPECT_TRUE(is_held_up(samples)) << "a stop of 3 s in a step of 2 s";
  samples = {{1.0, 0.9}, {1.1, 1.0}, {1.2, 1.1}};
  EXPECT_FALSE(is_held_up(samples)) << "a rank that always waits for others";
  samples = {{0.001, 0}, {0.040, 0.039}};
  EXPECT_FALSE(is_held_up(samples)) << "less than the time slices of a system";
  samples = {{1.0, 0}, {1.49, 0.49}};
  EXPECT_FALSE(is_held_up(samples)) << "less than half a step";
}

}  // namespace
}  // namespace moehill
