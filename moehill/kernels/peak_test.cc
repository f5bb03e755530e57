// The yardsticks exist for any number of threads (the copy checks itself that it copied all).
#include "moehill/kernels/peak.h"

#include <gtest/gtest.h>

#include <cmath>

namespace moehill {
namespace {

TEST(Peak, CopyBandwidthIsPositiveForAnyNumberOfThreads) {
  for (const int num_threads : {1, 3}) {
    ThreadTeam team(num_threads);
    const double bandwidth = measure_copy_bandwidth(team);
    EXPECT_GT(bandwidth, 0) << num_threads;
    EXPECT_TRUE(std::isfinite(bandwidth)) << num_threads;
  }
}

TEST(Peak, MemoryMayBePlacedByOtherThreads) {
  ThreadTeam team(2), owner(3);
  EXPECT_GT(measure_read_bandwidth(team, owner), 0);
  EXPECT_GT(measure_copy_bandwidth(team, owner), 0);
}

TEST(Peak, TileRateIsPositiveForAnyNumberOfThreads) {
  for (const int num_threads : {1, 3}) {
    ThreadTeam team(num_threads);
    const double rate = measure_tile_peak(team);
    EXPECT_GT(rate, 0) << num_threads;
    EXPECT_TRUE(std::isfinite(rate)) << num_threads;
  }
}

}  // namespace
}  // namespace moehill
