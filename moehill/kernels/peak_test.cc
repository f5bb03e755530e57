// The copy bandwidth exists for any number of threads (the measurement itself checks that it copied all).
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

}  // namespace
}  // namespace moehill
