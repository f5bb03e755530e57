// Tests of the limit on CPU time with made-up samples: steps of two threads.
#include "moehill/measure/cpu_use.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

constexpr double kTick = 0.01;

TEST(CpuUse, ThreadsBeyondTheLayoutShow) {
  EXPECT_DOUBLE_EQ(too_many_cpus({{4, 1}, {4, 1}, {4, 1}}, 2, kTick), 4);
  EXPECT_DOUBLE_EQ(too_many_cpus({{3, 1}}, 2, kTick), 3) << "one helper";
  EXPECT_DOUBLE_EQ(too_many_cpus({{3, 1}, {2, 1}, {3, 1}}, 2, kTick), 3) << "in most of the steps";
}

TEST(CpuUse, WhatTwoThreadsCanUseIsNotRefused) {
  EXPECT_EQ(too_many_cpus({}, 2, kTick), 0);
  EXPECT_EQ(too_many_cpus({{2, 1}, {2, 1}}, 2, kTick), 0) << "both worked all the time";
  EXPECT_EQ(too_many_cpus({{2.1, 1}}, 2, kTick), 0) << "something else for a moment";
  EXPECT_EQ(too_many_cpus({{0.1, 1}}, 2, kTick), 0) << "a shared machine";
  EXPECT_EQ(too_many_cpus({{2, 1}, {9, 1}, {2, 1}}, 2, kTick), 0) << "one disturbed step";
  EXPECT_EQ(too_many_cpus({{0.02, 1e-5}, {0.02, 1e-5}}, 2, kTick), 0) << "both ticks fell into short steps";
  EXPECT_EQ(too_many_cpus({{0, 0}}, 2, kTick), 0);
}

TEST(CpuUse, AStepOfMicrosecondsIsShorterThanATick) {
  EXPECT_GE(cpu_clock_lag(), kTick);
  EXPECT_EQ(too_many_cpus({{4e-5, 1e-5}}, 2, cpu_clock_lag()), 0);
}

}  // namespace
}  // namespace moehill
