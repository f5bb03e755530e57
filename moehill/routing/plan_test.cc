// Tests capacity, kept assignments and the hash of a plan.
#include "moehill/routing/plan.h"

#include <gtest/gtest.h>

#include <functional>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/routing/capacity_limiter.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

using Rows = std::vector<int32_t>;

TEST(CapacityRows, RoundsUp) {
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 1.0}, 12, 4), 3);
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 1.0}, 13, 4), 4);
  EXPECT_EQ(capacity_rows({CapacityPolicy::pad, 1.25}, 12, 4), 4);
  EXPECT_EQ(capacity_rows({CapacityPolicy::pad, 0.01}, 12, 4), 1);
}

// 1.1 and 2.2 are no doubles. The nearest ones are a little larger, which must not give a row more.
TEST(CapacityRows, AFactorIsTheDecimalThatWasWritten) {
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 1.1}, 100, 10), 11);
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 1.1}, 101, 10), 12);
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 1.1}, 200, 4), 55);
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 2.2}, 100, 10), 22);
  EXPECT_EQ(capacity_rows({CapacityPolicy::drop, 1e-300}, 100, 10), 1);
}

TEST(CapacityRows, TheLastPoolHasRowsForItsOwnExpertsOnly) {
  const Capacity capacity{.policy = CapacityPolicy::drop, .factor = 1, .pool = 4};
  EXPECT_EQ(capacity.num_pools(11), 3);
  EXPECT_EQ(pool_rows(capacity, 5, 0, 11), 20);
  EXPECT_EQ(pool_rows(capacity, 5, 1, 11), 20);
  EXPECT_EQ(pool_rows(capacity, 5, 2, 11), 15);
}

TEST(CapacityRows, NoPolicyIgnoresTheFactor) {
  EXPECT_EQ(capacity_rows({CapacityPolicy::none, -1}, 12, 4), 12);
}

TEST(CapacityRows, RefusesUselessFactors) {
  for (const double factor : {0.0, -1.0, std::nan(""), std::numeric_limits<double>::infinity(), 1e12}) {
    EXPECT_THROW(capacity_rows({CapacityPolicy::drop, factor}, 12, 4), InputError) << factor;
  }
}

TEST(KeptAssignments, FirstOnesOfEachExpertInTokenOrder) {
  const Routing routing = routing_of(3, 2, {0, 1, 0, 2, 1, 0, 0, 2});  // C = ceil(0.75 * 8 / 3) = 2
  EXPECT_EQ(kept_assignments(routing, {CapacityPolicy::drop, 0.75}), (Rows{1, 1, 1, 1, 1, 0, 0, 1}));
  EXPECT_EQ(kept_assignments(routing, {CapacityPolicy::pad, 0.75}), (Rows{1, 1, 1, 1, 1, 0, 0, 1}));
  EXPECT_EQ(kept_assignments(routing, {}), Rows(8, 1));
}

TEST(PlanHash, EqualPlansEqualHashesAndEveryFieldCounts) {
  const Routing routing = random_routing(20, 6, 2, 0.5, 3);
  const RoutingPlan plan = build_plan(routing, {1, 5}, PackStrategy::counting_sort);
  EXPECT_EQ(plan_hash(plan),
            plan_hash(build_plan(routing, {1, 5}, PackStrategy::argsort, {}, PlanScope::local, 3)));
  const std::vector<std::function<void(RoutingPlan&)>> changes = {
      [](RoutingPlan& p) { ++p.num_tokens; },
      [](RoutingPlan& p) { ++p.num_experts; },
      [](RoutingPlan& p) { ++p.topk; },
      [](RoutingPlan& p) { ++p.expert_begin; },
      [](RoutingPlan& p) { ++p.expert_end; },
      [](RoutingPlan& p) { ++p.num_dropped; },
      [](RoutingPlan& p) { ++p.group_offset[2]; },
      [](RoutingPlan& p) { p.row_token[0] ^= 1 << 30; },
      [](RoutingPlan& p) { std::swap(p.row_assignment.front(), p.row_assignment.back()); },
      [](RoutingPlan& p) { p.assignment_row.back() -= 1; },
      [](RoutingPlan& p) { p.row_token.push_back(0); },
  };
  for (size_t i = 0; i < changes.size(); ++i) {
    RoutingPlan changed = plan;
    changes[i](changed);
    EXPECT_NE(plan_hash(changed), plan_hash(plan)) << "change " << i;
  }
}

TEST(PlanHash, ElementsDoNotPassBetweenArrays) {
  RoutingPlan a, b;
  a.row_token = {7};
  b.row_assignment = {7};
  EXPECT_NE(plan_hash(a), plan_hash(b));
}

}  // namespace
}  // namespace moehill
