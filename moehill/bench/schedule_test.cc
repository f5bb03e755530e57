// Tests of the schedule on a clock that only the points move.
#include "moehill/bench/schedule.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <map>

namespace moehill {
namespace {

// FakeBench has points that take 1, 2, 3 ... seconds on a clock that only they move.
struct FakeBench {
  explicit FakeBench(int num_points) {
    for (int i = 0; i < num_points; ++i) {
      points.push_back([this, i] {
        log.push_back(i);
        now += i + 1 + jitter * static_cast<double>(log.size() % 5);
      });
    }
    hooks.clock = [this] { return now; };
  }
  double now = 100;
  double jitter = 0;
  std::vector<int> log;
  std::vector<std::function<void()>> points;
  ScheduleHooks hooks;
};

TEST(Schedule, EachPointOnceARoundAndWarmupThrownAway) {
  FakeBench bench(3);
  const ScheduleResult result = time_interleaved(bench.points, {.warmup = 2, .iters = 4}, bench.hooks);
  EXPECT_EQ(bench.log.size(), 3u * 6);
  ASSERT_EQ(result.samples.size(), 3u);
  for (int point = 0; point < 3; ++point) {
    EXPECT_EQ(result.samples[point], std::vector<double>(4, point + 1.0));
  }
  for (const auto& order : result.order) {
    EXPECT_TRUE(std::is_permutation(order.begin(), order.end(), std::vector<int>{0, 1, 2}.begin()));
  }
  EXPECT_EQ(result.stop_reason, "iters");
}

TEST(Schedule, TwoPointsTakeTurnsInFront) {
  EXPECT_EQ(round_order(0, 2), (std::vector<int>{0, 1}));
  EXPECT_EQ(round_order(1, 2), (std::vector<int>{1, 0}));
  EXPECT_EQ(round_order(2, 2), (std::vector<int>{1, 0}));
  EXPECT_EQ(round_order(3, 2), (std::vector<int>{0, 1}));
  for (const int n : {3, 4, 7}) {
    std::map<std::pair<int, int>, int> visits;  // (point, place)
    for (int round = 0; round < 2 * n; ++round) {
      const std::vector<int> order = round_order(round, n);
      for (int place = 0; place < n; ++place) ++visits[{order[place], place}];
    }
    for (const auto& [where, count] : visits)
      EXPECT_EQ(count, 2) << n << ": " << where.first << " at " << where.second;
  }
}

TEST(Schedule, MinTimeGoesOnUntilTheFastestPointHasEnough) {
  FakeBench bench(2);
  const ScheduleResult result =
      time_interleaved(bench.points, {.iters = 2, .min_time = 10, .max_rounds = 5}, bench.hooks);
  EXPECT_EQ(result.order.size(), 10u);
  EXPECT_EQ(result.stop_reason, "min_time");
}

TEST(Schedule, IntervalTargetReachedOrGivenUp) {
  FakeBench steady(1);
  EXPECT_EQ(time_interleaved(steady.points, {.iters = 2, .ci_target = 0.01}, steady.hooks).order.size(), 6u);
  FakeBench noisy(1);
  noisy.jitter = 1;
  const ScheduleResult result =
      time_interleaved(noisy.points, {.iters = 2, .ci_target = 1e-3, .max_rounds = 30}, noisy.hooks);
  EXPECT_EQ(result.order.size(), 30u);
  EXPECT_EQ(result.stop_reason, "max_rounds");
}

// The samples lie between 3 and 5 s, and their median is 4 s.
TEST(Schedule, AnIntervalOfExactlyTheTargetsWidthIsEnough) {
  FakeBench bench(0);
  const double took[] = {3, 4, 4, 4, 4, 5};
  bench.points.push_back([&] {
    bench.now += took[bench.log.size() % 6];
    bench.log.push_back(0);
  });
  const ScheduleResult result = time_interleaved(
      bench.points, {.warmup = 0, .iters = 2, .ci_target = 0.25, .max_rounds = 30}, bench.hooks);
  EXPECT_EQ(result.order.size(), 6u);
  EXPECT_EQ(result.stop_reason, "ci_target");
}

TEST(Schedule, HooksStandOutsideTheClock) {
  FakeBench bench(2);
  int64_t num_after = 0, num_rounds = 0;
  std::vector<int> before;
  bench.hooks.before_sample = [&](int point) { bench.now += 1000, before.push_back(point); };
  bench.hooks.after_sample = [&](int) { bench.now += 1000, ++num_after; };
  bench.hooks.after_round = [&](int64_t) { bench.now += 1000, ++num_rounds; };
  const ScheduleResult result = time_interleaved(bench.points, {.warmup = 1, .iters = 3}, bench.hooks);
  EXPECT_EQ(result.samples[1], std::vector<double>(3, 2.0));
  EXPECT_EQ(before, bench.log);
  EXPECT_EQ(num_after, 8);
  EXPECT_EQ(num_rounds, 4);
}

TEST(Schedule, ASampleIsWhatIsAgreedOnForItsPoint) {
  FakeBench bench(2);
  bench.hooks.agreed = [](int point, double seconds) { return point == 0 ? 10 * seconds : 7; };
  const ScheduleResult result = time_interleaved(bench.points, {.iters = 2, .min_time = 30}, bench.hooks);
  EXPECT_EQ(result.samples, (std::vector<std::vector<double>>{{10, 10, 10, 10, 10}, {7, 7, 7, 7, 7}}));
  EXPECT_EQ(result.stop_reason, "min_time");
}

TEST(Schedule, NoPoints) { EXPECT_TRUE(time_interleaved({}, {}, {}).samples.empty()); }

TEST(Schedule, ARoundWithASpoiledSampleIsRepeatedAFewTimes) {
  FakeBench bench(2);
  int taken = 0;
  bench.hooks.spoiled = [&](int point) { return point == 1 && (++taken == 3 || taken == 4); };
  const ScheduleResult result = time_interleaved(bench.points, {.warmup = 1, .iters = 6}, bench.hooks);
  EXPECT_EQ(result.num_repeated, 2);
  EXPECT_EQ(result.counts, (std::vector<bool>{false, true, false, false, true, true, true, true, true}));
  EXPECT_EQ(result.order.size(), 6u);
  EXPECT_EQ(result.samples[0].size(), 6u);
  EXPECT_EQ(result.stop_reason, "iters");
}

TEST(Schedule, WhatIsAlwaysSpoiledIsKeptInTheEnd) {
  FakeBench bench(1);
  bench.hooks.spoiled = [](int) { return true; };
  const ScheduleResult result = time_interleaved(bench.points, {.warmup = 0, .iters = 5}, bench.hooks);
  EXPECT_EQ(result.num_repeated, 2);
  EXPECT_EQ(result.samples[0].size(), 5u);
  EXPECT_EQ(bench.log.size(), 7u);
}

TEST(Schedule, AnInterruptedRoundCountsWhereItIsComplete) {
  for (const int samples : {1, 4, 5, 6, 7}) {
    FakeBench bench(2);
    bench.hooks.stop = [&] { return std::ssize(bench.log) == samples; };
    const ScheduleResult result = time_interleaved(bench.points, {.warmup = 1, .iters = 9}, bench.hooks);
    EXPECT_EQ(std::ssize(bench.log), samples);
    EXPECT_EQ(result.stop_reason, "interrupted");
    const auto complete = static_cast<size_t>(std::max(0, samples / 2 - 1));
    EXPECT_EQ(result.samples[0].size(), complete) << samples;
    EXPECT_EQ(result.samples[1].size(), complete) << samples;
    EXPECT_EQ(result.order.size(), complete) << samples;
    EXPECT_EQ(std::ssize(result.counts), (samples + 1) / 2);
  }
}

}  // namespace
}  // namespace moehill
