// Tests of the rate of passes of several processes.
#include "moehill/measure/read_passes.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

// A process that is done early read faster than its share of the bandwidth. Such rates do not add up.
TEST(ReadPasses, TheRateIsOfAllProcessesTogether) {
  EXPECT_DOUBLE_EQ(fastest_pass({{10, 1, 10, 4}, {10, 4, 10, 2}}), 5);
  EXPECT_DOUBLE_EQ(fastest_pass({{10, 4, 10, 2}, {10, 4, 30, 1}}), 20) << "the second pass";
  EXPECT_DOUBLE_EQ(fastest_pass({{10, 2}, {0, 9}}), 5) << "the other process read nothing";
}

TEST(ReadPasses, OneProcessHasItsOwnRateAndWithoutPassesThereIsNone) {
  EXPECT_DOUBLE_EQ(fastest_pass({{10, 1, 30, 2}}), 15);
  EXPECT_EQ(fastest_pass({}), 0);
  EXPECT_EQ(fastest_pass({{}, {}}), 0);
  EXPECT_EQ(fastest_pass({{0, 1}, {0, 1}}), 0);
}

}  // namespace
}  // namespace moehill
