// Tests that --tokens auto grows with the speed of the machine and stays within its bounds.
#include "moehill/measure/auto_tokens.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

std::vector<Point> main_job(int64_t tokens) {
  BenchOptions options;
  options.shape.tokens = tokens;
  options.topk_list = {2, 8};
  options.modes = {ParallelMode::none, ParallelMode::ep};
  return expand_points(options, 2);
}

int64_t choose(double flops) { return choose_tokens(main_job, 6, {flops, 20e9}, 1e15); }

TEST(AutoTokens, GrowsWithThePeakWithinItsBounds) {
  EXPECT_EQ(choose(1e9), 256);
  EXPECT_EQ(choose(1e15), 8192);
  int64_t before = 0;
  for (double flops = 1e10; flops < 1e13; flops *= 2) {
    const int64_t tokens = choose(flops);
    EXPECT_GE(tokens, before);
    EXPECT_EQ(tokens & (tokens - 1), 0);
    before = tokens;
  }
}

TEST(AutoTokens, TheChoiceFitsTheBudgetAndTwiceAsManyDoNot) {
  const MachineSpeed speed{300e9, 30e9};
  const int64_t tokens = choose_tokens(main_job, 6, speed, 1e15);
  ASSERT_GT(tokens, 256);
  ASSERT_LT(tokens, 8192);
  EXPECT_LE(estimate_seconds(main_job(tokens), 6, speed), 90);
  EXPECT_GT(estimate_seconds(main_job(2 * tokens), 6, speed), 90);
}

TEST(AutoTokens, LittleMemoryMeansFewTokens) { EXPECT_EQ(choose_tokens(main_job, 6, {1e15, 1e12}, 0), 256); }

}  // namespace
}  // namespace moehill
