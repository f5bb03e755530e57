// Tests of what the runs of a climb are expected to take; climber_test.cc and
// sharing_climber_test.cc have those of whole moves.
#include "moehill/climb/move_runner.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

// Returns the cost where a process takes 4 s, and each of its runs 1 s more; 2 s are predicted of a run.
RunCost cost_with_start() {
  RunCost cost;
  cost.add(2, 5);
  cost.add(12, 10);
  return cost;
}

TEST(RunCost, TellsTheStartOfAProcessFromItsRuns) {
  EXPECT_EQ(RunCost().of(3), 3) << "as predicted";
  RunCost alone;
  alone.add(2, 5);
  EXPECT_DOUBLE_EQ(alone.of(4), 10);
  EXPECT_DOUBLE_EQ(cost_with_start().of(4), 6);
}

TEST(RunCost, NeitherTheStartNorTheRestIsBelowZero) {
  RunCost falling, steep, alike;
  falling.add(2, 5);
  falling.add(12, 4);
  EXPECT_DOUBLE_EQ(falling.of(100), 4.5);
  steep.add(1, 1);
  steep.add(10, 100);
  EXPECT_NEAR(steep.of(11), 101, 1e-9);
  alike.add(10, 20);
  alike.add(11, 22);
  EXPECT_NEAR(alike.of(100), 200, 1e-9) << "processes that are alike do not tell their start";
}

// Two arms that share a process do not take two sixths of what six arms take.
TEST(AffordsMove, EachRoundHasTheStartOfItsProcess) {
  MoveRequest request;
  request.arms.resize(2);
  for (MoveArm& arm : request.arms) arm.resolved.seconds = 2;
  ClimbBudget budget;
  budget.clock = [] { return 0.0; };
  budget.cost = cost_with_start();
  budget.limit_s = 7 * 6 - 1;
  EXPECT_FALSE(affords_move(budget, request));
  budget.limit_s = 7 * 6 + 1;
  EXPECT_TRUE(affords_move(budget, request));
  request.memory_bytes = 1e9;
  EXPECT_FALSE(affords_move(budget, request)) << "each run has a process";
}

// The first of seven rounds checks the results, and later rounds find the same bits.
TEST(AffordsMove, LaterRoundsTakeTheChecksOver) {
  MoveRequest request;
  request.arms.resize(2);
  for (MoveArm& arm : request.arms) {
    arm.resolved.seconds = 6;
    arm.resolved.repeat_seconds = 1;
  }
  ClimbBudget budget;
  budget.clock = [] { return 0.0; };
  budget.cost = cost_with_start();  // 4 s, and half of what is predicted
  const double first = 4 + 12 / 2, later = 4 + 2 / 2;
  budget.limit_s = first + 6 * later - 1;
  EXPECT_FALSE(affords_move(budget, request));
  budget.limit_s = first + 6 * later + 1;
  EXPECT_TRUE(affords_move(budget, request));
  // With a limit of memory each of seven rounds has two processes that check.
  request.memory_bytes = 1e9;
  budget.limit_s = 7 * 2 * (4 + 6 / 2) - 1;
  EXPECT_FALSE(affords_move(budget, request));
  budget.limit_s += 2;
  EXPECT_TRUE(affords_move(budget, request));
}

}  // namespace
}  // namespace moehill
