// Compares the statistics of a routing with cases worked out by hand.
#include "moehill/routing/statistics.h"

#include <gtest/gtest.h>

#include <cmath>

#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

using Load = std::vector<int64_t>;

TEST(RunStatistics, ByHand) {
  // First choices 2 2 2 0 1 1: runs of 3, 1, 2. The second choices do not count.
  const RunStatistics runs = run_statistics(routing_of(3, 2, {2, 0, 2, 1, 2, 0, 0, 1, 1, 0, 1, 2}));
  EXPECT_EQ(runs.num, 3);
  EXPECT_EQ(runs.mean, 2);
  EXPECT_EQ(runs.p95, 3);
  EXPECT_EQ(runs.max, 3);
}

TEST(RunStatistics, NearestRank) {
  // Runs of 1, 2, ..., 20: the 95 % point is the 19th, and of 1, ..., 21 the 20th (19.95 rounded up).
  for (const int num_runs : {20, 21}) {
    std::vector<int32_t> expert;
    for (int run = 1; run <= num_runs; ++run) expert.insert(expert.end(), static_cast<size_t>(run), run % 2);
    const RunStatistics runs = run_statistics(routing_of(2, 1, expert));
    EXPECT_EQ(runs.num, num_runs);
    EXPECT_EQ(runs.p95, num_runs - 1);
    EXPECT_EQ(runs.max, num_runs);
    EXPECT_EQ(runs.mean, (num_runs + 1) / 2.0);
  }
}

// First choices are expert 0, zero expert 0, zero expert 1 twice, and expert 1.
TEST(RunStatistics, ZeroExpertsAreUnlikeEachOther) {
  Routing routing = routing_of(2, 1, {0, kNoExpert, kNoExpert, kNoExpert, 1});
  routing.num_zero_experts = 2;
  routing.zero = {-1, 0, 1, 1, -1};
  const RunStatistics runs = run_statistics(routing);
  EXPECT_EQ(runs.num, 4);
  EXPECT_EQ(runs.max, 2);
}

TEST(RunStatistics, OneTokenAndNone) {
  const RunStatistics one = run_statistics(routing_of(4, 1, {3}));
  EXPECT_EQ(one.num, 1);
  EXPECT_EQ(one.mean, 1);
  EXPECT_EQ(one.p95, 1);
  const RunStatistics none = run_statistics(routing_of(4, 1, {}));
  EXPECT_EQ(none.num, 0);
  EXPECT_EQ(none.mean, 0);
}

TEST(Load, ByHand) {
  const Load load = expert_load(routing_of(4, 2, {0, 1, 2, 0, 1, 0, 0, 2}));
  EXPECT_EQ(load, (Load{4, 2, 2, 0}));
  const LoadStatistics statistics = load_statistics(load);
  EXPECT_EQ(statistics.min, 0);
  EXPECT_EQ(statistics.max, 4);
  EXPECT_DOUBLE_EQ(statistics.std, std::sqrt(2.0));  // (4 + 0 + 0 + 4) / 4
  EXPECT_DOUBLE_EQ(statistics.cv, std::sqrt(2.0) / 2);
  EXPECT_DOUBLE_EQ(max_over_mean(load), 2);
}

TEST(Load, PerfectBalanceAndNothing) {
  EXPECT_EQ(load_statistics({5, 5, 5}).cv, 0);
  EXPECT_EQ(max_over_mean({5, 5, 5}), 1);
  EXPECT_EQ(load_statistics({0, 0}).cv, 0);
  EXPECT_EQ(max_over_mean({0, 0}), 0);
}

TEST(DeviceLoad, SumsSharesOfTheExperts) {
  const Load load{1, 10, 100, 1000, 10000};
  EXPECT_EQ(device_load(load, 1), (Load{11111}));
  EXPECT_EQ(device_load(load, 2), (Load{11, 11100}));  // [0, 2) and [2, 5)
  EXPECT_EQ(device_load(load, 5), load);
  EXPECT_EQ(device_load(load, 7), (Load{0, 1, 10, 0, 100, 1000, 10000}));  // more devices than experts
}

}  // namespace
}  // namespace moehill
