// Tests of the stage clock on a clock that is set by hand.
#include "moehill/bench/stage_clock.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(StageClock, StagesAddUpToTheWholeStretch) {
  double now = 10;
  StageClock clock(3, [&] { return now; });
  clock.enter(0);
  now = 11;
  clock.enter(2);
  now = 14;
  clock.enter(0);
  now = 14.5;
  clock.finish();
  now = 20;  // nobody's time
  EXPECT_EQ(clock.seconds(), (std::vector<double>{1.5, 0, 3}));
  EXPECT_EQ(clock.visits(), (std::vector<int>{2, 0, 1}));
  ASSERT_EQ(clock.intervals().size(), 3u);
  EXPECT_EQ(clock.intervals()[1].begin, 11);
  EXPECT_EQ(clock.intervals()[1].end, 14);
}

TEST(StageClock, RestartForgets) {
  double now = 0;
  StageClock clock(2, [&] { return now; });
  clock.enter(1);
  now = 5;
  clock.restart();
  clock.finish();
  EXPECT_EQ(clock.seconds(), (std::vector<double>{0, 0}));
  EXPECT_TRUE(clock.intervals().empty());
}

TEST(StageClock, FinishTwiceCountsOnce) {
  double now = 0;
  StageClock clock(1, [&] { return now; });
  clock.enter(0);
  now = 1;
  clock.finish();
  now = 2;
  clock.finish();
  EXPECT_EQ(clock.seconds(), (std::vector<double>{1}));
}

TEST(StageClock, WhatDoesNotFitIsCountedAndSummed) {
  double now = 0;
  StageClock clock(1, [&] { return now; });
  for (int i = 0; i < 5000; ++i) {
    clock.enter(0);
    now += 1;
  }
  clock.finish();
  EXPECT_EQ(static_cast<int64_t>(clock.intervals().size()) + clock.num_dropped(), 5000);
  EXPECT_GT(clock.num_dropped(), 0);
  EXPECT_EQ(clock.seconds()[0], 5000);
  clock.restart();
  EXPECT_EQ(clock.num_dropped(), 0);
}

}  // namespace
}  // namespace moehill
