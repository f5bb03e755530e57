// Tests that the rate of a job is the work of all processes over the time that they took together.
#include "moehill/quiet/yardstick.h"

#include <gtest/gtest.h>

#include "moehill/machine/topology.h"

namespace moehill {
namespace {

TEST(RateTogether, IsTheWorkOfAllOverTheUnionOfTheirTimes) {
  EXPECT_DOUBLE_EQ(rate_together({{8, 1, 3}}), 4);
  EXPECT_DOUBLE_EQ(rate_together({{8, 1, 3}, {8, 1, 3}}), 8);  // side by side
  EXPECT_DOUBLE_EQ(rate_together({{8, 1, 3}, {8, 3, 5}}), 4);  // in turns on one core
  EXPECT_DOUBLE_EQ(rate_together({{8, 1, 3}, {8, 2, 4}}), 16 / 3.0);
}

TEST(RateTogether, LeavesOutWhoHadNoPart) {
  EXPECT_DOUBLE_EQ(rate_together({{8, 1, 3}, {0, 0, 0}}), 4);
  EXPECT_EQ(rate_together({{0, 0, 0}}), 0);
  EXPECT_EQ(rate_together({}), 0);
}

// The second process's clock shows 100 s more.
TEST(JobRates, AreOfAllProcessesOnTheClockOfTheFirst) {
  const std::vector<ClockReading> before = {{0, 0, 0}, {100, -100, 0}}, after = {{10, 0, 0}, {110, -100, 0}};
  EXPECT_EQ(job_rates({{8, 1, 3, 6, 5, 7}, {8, 102, 104, 2, 105, 107}}, before, after),
            (std::vector<double>{16 / 3.0, 4}));
  EXPECT_TRUE(job_rates({}, {}, {}).empty());
}

TEST(BestOfEach, IsTheLargestOfItsNeighbours) {
  EXPECT_EQ(best_of_each({4, 5, 1, 3}, 2), (std::vector<double>{5, 3}));
  EXPECT_EQ(best_of_each({4, 5, 1, 3}, 1), (std::vector<double>{4, 5, 1, 3}));
  EXPECT_TRUE(best_of_each({}, 3).empty());
}

TEST(ThreadsOfAPoint, AreThoseOfAllDevicesOfTheProcess) {
  RunConfig config;
  config.spread = Spread::none;
  config.threads_per_device = 2;
  const PointThreads of_one{2, false}, of_three{6, false};
  EXPECT_EQ(threads_of(config, Job{}), of_one);
  config.spread = Spread::fused;
  config.num_devices = 3;
  EXPECT_EQ(threads_of(config, Job{}), of_three);
}

TEST(PeaksOfAPoint, AreThoseOfItsDtype) {
  const Peaks peaks{{"fma", 1, 1}, {"dot", 2, 2}, {}};
  EXPECT_EQ(peaks.of(DType::f32).instruction, "fma");
  EXPECT_EQ(peaks.of(DType::bf16).instruction, "dot");
}

TEST(Yardstick, NamesTheInstructionsAndKeepsTheBestAndTheMedian) {
  Yardstick yardstick({});
  yardstick.watch({2});
  EXPECT_EQ(yardstick.peaks({2}).f32.best, 0);  // nothing measured
  for (int i = 0; i < 3; ++i) yardstick.measure_peaks();
  const Peaks peaks = yardstick.peaks({2});
  EXPECT_EQ(peaks.f32.instruction, peak_kernels().front().instruction);
  EXPECT_GT(peaks.f32.typical, 0);
  EXPECT_GE(peaks.f32.best, peaks.f32.typical);
  EXPECT_GE(peaks.bf16.best, peaks.f32.best);  // f32's loop is one of bf16's
  EXPECT_EQ(peaks.read.median, 0);
  EXPECT_EQ(yardstick.peaks({1}).f32.best, 0);  // not watched
}

TEST(Yardstick, PinsAsManyThreadsAsThereAreCpus) {
  const std::vector<int> cpus = core_cpus();
  const int num_cpus = static_cast<int>(cpus.size());
  Yardstick yardstick(cpus);
  EXPECT_EQ(yardstick.team({num_cpus}).cpus(), cpus);
  EXPECT_EQ(yardstick.team({1}).cpus(), std::vector<int>(1, cpus.front()));
  EXPECT_TRUE(yardstick.team({num_cpus + 1}).cpus().empty());
}

TEST(Yardstick, ReadsSeveralTimesAndTellsTheSpread) {
  Yardstick yardstick({});
  yardstick.watch({1});
  yardstick.measure_bandwidth();
  const ReadBandwidth read = yardstick.peaks({1}).read;
  EXPECT_GT(read.min, 0);
  EXPECT_GE(read.median, read.min);
  EXPECT_GT(read.max, read.min);
  EXPECT_GE(read.max, read.median);
}

}  // namespace
}  // namespace moehill
