// Tests that the watch runs each measurement, repeats it if cores were missing, and stops repeating at some
// point.
#include "moehill/quiet/core_watch.h"

#include <gtest/gtest.h>

#include "moehill/machine/topology.h"

namespace moehill {
namespace {

TEST(CoreWatch, EveryMeasurementRunsAndEachFurtherRunIsCounted) {
  CoreWatch watch({core_cpus().front()}, 0.5);
  int runs = 0;
  for (int i = 0; i < 5; ++i) watch.run([&] { ++runs; });
  EXPECT_EQ(runs, 5 + watch.num_repeated());
  EXPECT_LE(watch.num_disturbed(), 5);
}

}  // namespace
}  // namespace moehill
