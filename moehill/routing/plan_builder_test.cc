// Tests PlanBuilder on cases worked out by hand, and with every strategy, capacity policy, scope and team
// size on odd shapes.
#include <gtest/gtest.h>

#include <limits>

#include "moehill/base/error.h"
#include "moehill/routing/capacity_limiter.h"
#include "moehill/routing/plan.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

using Rows = std::vector<int32_t>;
using Offsets = std::vector<int64_t>;

constexpr PackStrategy kStrategies[] = {PackStrategy::argsort, PackStrategy::tuple_sort,
                                        PackStrategy::expert_score_sort, PackStrategy::counting_sort};

// Four tokens, top 2 of 4 experts; expert 3 is empty. Assignments of 0: {0, 3, 5, 6}, of 1: {1, 4}, of 2: {2,
// 7}.
Routing hand_routing() {
  Routing routing = routing_of(4, 2, {0, 1, 2, 0, 1, 0, 0, 2});
  routing.weight = {0.6f, 0.4f, 0.7f, 0.3f, 0.2f, 0.8f, 0.6f, 0.4f};
  return routing;
}

TEST(PlanBuilder, AllExpertsByHand) {
  const RoutingPlan plan = build_plan(hand_routing(), {0, 4}, PackStrategy::counting_sort);
  EXPECT_EQ(plan.group_offset, (Offsets{0, 4, 6, 8, 8}));
  EXPECT_EQ(plan.row_assignment, (Rows{0, 3, 5, 6, 1, 4, 2, 7}));
  EXPECT_EQ(plan.row_token, (Rows{0, 1, 2, 3, 0, 2, 1, 3}));
  EXPECT_EQ(plan.assignment_row, (Rows{0, 4, 6, 1, 5, 2, 3, 7}));
  EXPECT_EQ(plan.num_dropped, 0);
}

TEST(PlanBuilder, ScoreSortByHand) {
  const RoutingPlan plan = build_plan(hand_routing(), {0, 4}, PackStrategy::expert_score_sort);
  EXPECT_EQ(plan.group_offset, (Offsets{0, 4, 6, 8, 8}));
  EXPECT_EQ(plan.row_assignment, (Rows{5, 0, 6, 3, 1, 4, 2, 7}));  // 0 and 6 have equal gate values
}

TEST(PlanBuilder, LocalDropByHand) {
  const Capacity capacity{CapacityPolicy::drop, 1.5};  // C = 3
  const RoutingPlan plan = build_plan(hand_routing(), {0, 2}, PackStrategy::counting_sort, capacity);
  EXPECT_EQ(plan.group_offset, (Offsets{0, 3, 5}));
  EXPECT_EQ(plan.row_assignment, (Rows{0, 3, 5, 1, 4}));
  EXPECT_EQ(plan.assignment_row, (Rows{0, 3, -1, 1, 4, 2, -1, -1}));
  EXPECT_EQ(plan.num_dropped, 1);
}

TEST(PlanBuilder, ScoreSortDropsByTokenOrderAndThenSorts) {
  const Capacity capacity{CapacityPolicy::drop, 1.0};  // C = 2
  const RoutingPlan plan = build_plan(hand_routing(), {0, 1}, PackStrategy::expert_score_sort, capacity);
  EXPECT_EQ(plan.row_assignment, (Rows{0, 3}));  // 5 has the largest gate value and comes too late
  EXPECT_EQ(plan.num_dropped, 2);
}

TEST(PlanBuilder, PadByHand) {
  const Capacity capacity{CapacityPolicy::pad, 1.5};  // C = 3
  const RoutingPlan plan = build_plan(hand_routing(), {0, 2}, PackStrategy::counting_sort, capacity);
  EXPECT_EQ(plan.group_offset, (Offsets{0, 3, 6}));
  EXPECT_EQ(plan.row_assignment, (Rows{0, 3, 5, 1, 4, -1}));
  EXPECT_EQ(plan.row_token, (Rows{0, 1, 2, 0, 2, -1}));
  EXPECT_EQ(plan.num_dropped, 1);
}

TEST(PlanBuilder, MaskedByHand) {
  const Capacity capacity{CapacityPolicy::drop, 1.5};  // C = 3
  const RoutingPlan plan =
      build_plan(hand_routing(), {1, 2}, PackStrategy::counting_sort, capacity, PlanScope::masked);
  EXPECT_EQ(plan.group_offset, (Offsets{0, 2, 7}));
  EXPECT_EQ(plan.row_assignment, (Rows{1, 4, 0, 2, 3, 5, 7}));  // 6 is expert 0's fourth
  EXPECT_EQ(plan.num_dropped, 0);                               // of the held expert
}

TEST(PlanBuilder, MaskedPadPadsHeldExpertsOnly) {
  const Capacity capacity{CapacityPolicy::pad, 1.5};
  const RoutingPlan plan =
      build_plan(hand_routing(), {1, 2}, PackStrategy::tuple_sort, capacity, PlanScope::masked);
  EXPECT_EQ(plan.group_offset, (Offsets{0, 3, 8}));
  EXPECT_EQ(plan.row_assignment, (Rows{1, 4, -1, 0, 2, 3, 5, 7}));
}

TEST(PlanBuilder, HoldsNoExpert) {
  EXPECT_EQ(build_plan(hand_routing(), {2, 2}, PackStrategy::argsort).group_offset, (Offsets{0}));
  const RoutingPlan masked = build_plan(hand_routing(), {2, 2}, PackStrategy::argsort, {}, PlanScope::masked);
  EXPECT_EQ(masked.group_offset, (Offsets{0, 8}));
  EXPECT_EQ(masked.row_assignment, (Rows{0, 1, 2, 3, 4, 5, 6, 7}));
}

TEST(PlanBuilder, RefusesExpertOutOfRange) {
  for (const int32_t bad : {-2, 4, std::numeric_limits<int32_t>::min()}) {
    Routing routing = hand_routing();
    routing.expert[5] = bad;
    for (const PackStrategy strategy : kStrategies) {
      try {
        build_plan(routing, {0, 4}, strategy, {}, PlanScope::local, 3);
        FAIL() << "expert " << bad << " accepted";
      } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find(fmt::format("expert {} for token 2", bad)),
                  std::string::npos)
            << error.what();
      }
    }
  }
}

// A builder whose build() threw makes the right plan the next time.
TEST(PlanBuilder, RecoversFromBadInput) {
  ThreadTeam team(2);
  PlanBuilder builder({4, 4, 2, 0, 4, PackStrategy::counting_sort, {}, PlanScope::local, 2});
  RoutingPlan plan = builder.make_plan();
  Routing bad = hand_routing();
  bad.expert[7] = 99;
  EXPECT_THROW(builder.build(bad, team, plan), InputError);
  builder.build(hand_routing(), team, plan);
  EXPECT_EQ(plan_hash(plan), plan_hash(build_plan(hand_routing(), {0, 4}, PackStrategy::argsort)));
}

// Tests plans with more assignments than one thread handles alone.
TEST(PlanBuilder, LargePlansDoNotDependOnTheTeam) {
  const Routing routing = random_routing(701, 7, 3, 1, 5);
  ASSERT_GT(701 * 3, kFewAssignments);
  for (const PackStrategy strategy : kStrategies) {
    for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
      const Capacity capacity{policy, 1.2};
      const RoutingPlan one = build_plan(routing, {1, 5}, strategy, capacity, PlanScope::masked, 1);
      EXPECT_EQ(plan_defect(one, routing, &capacity), "");
      EXPECT_EQ(plan_hash(one),
                plan_hash(build_plan(routing, {1, 5}, strategy, capacity, PlanScope::masked, 3)));
    }
  }
}

// A plan that replaces an older, larger or smaller one has nothing left of it.
TEST(PlanBuilder, PlansAreReused) {
  ThreadTeam team(2);
  for (const CapacityPolicy policy : {CapacityPolicy::none, CapacityPolicy::drop, CapacityPolicy::pad}) {
    const Capacity capacity{policy, 1.2};
    PlanBuilder builder({50, 7, 3, 1, 4, PackStrategy::counting_sort, capacity, PlanScope::local, 2});
    RoutingPlan plan = builder.make_plan();
    EXPECT_EQ(plan.num_tokens, 50);
    for (const double skew : {0.0, 6.0, 1.0}) {
      const Routing routing = random_routing(50, 7, 3, skew, 11);
      builder.build(routing, team, plan);
      const RoutingPlan fresh = build_plan(routing, {1, 4}, PackStrategy::argsort, capacity);
      EXPECT_EQ(plan_hash(plan), plan_hash(fresh));
    }
  }
}

TEST(PlanBuilder, AssignmentsOfNobodyHaveNoRow) {
  Routing routing = hand_routing();
  routing.expert[3] = routing.expert[4] = routing.expert[5] = kNoExpert;
  for (const PackStrategy strategy : kStrategies) {
    for (const PlanScope scope : {PlanScope::local, PlanScope::masked}) {
      const RoutingPlan plan = build_plan(routing, {0, 2}, strategy, {}, scope, 2);
      EXPECT_EQ(plan.group_offset, scope == PlanScope::local ? (Offsets{0, 2, 3}) : (Offsets{0, 2, 3, 5}));
      EXPECT_EQ(plan.assignment_row[3], -1);
      EXPECT_EQ(plan.assignment_row[4], -1);
      EXPECT_EQ(plan_defect(plan, routing), "");
    }
  }
}

TEST(PlanBuilder, FewerTokensGiveThePlanOfABuilderOfTheirOwn) {
  const Routing all = random_routing(37, 5, 3, 1, 3);
  for (const PackStrategy strategy : kStrategies) {
    ThreadTeam team(2);
    PlanBuilder builder({37, 5, 3, 1, 4, strategy, {CapacityPolicy::drop, 1.1}, PlanScope::local, 2});
    RoutingPlan plan = builder.make_plan();
    for (const int64_t tokens : {37, 12, 0, 1, 37}) {
      Routing some = all;
      some.num_tokens = tokens;
      some.expert.resize(static_cast<size_t>(tokens * 3));
      some.weight.resize(some.expert.size());
      builder.build(some, team, plan);
      const RoutingPlan own = build_plan(some, {1, 4}, strategy, {CapacityPolicy::drop, 1.1});
      EXPECT_EQ(plan_hash(plan), plan_hash(own)) << tokens;
    }
  }
}

// Gate values that are NaN must not send the sort out of its array.
TEST(PlanBuilder, ScoreSortStandsNaN) {
  Routing routing = random_routing(300, 3, 2, 0, 5);
  for (size_t a = 0; a < routing.weight.size(); a += 3) routing.weight[a] = std::nanf("");
  EXPECT_EQ(plan_defect(build_plan(routing, {0, 3}, PackStrategy::expert_score_sort), routing), "");
}

TEST(PlanBuilderDeathTest, ShapesThatDoNotFit) {
  const auto make = [](int64_t tokens, int experts, int topk, int begin, int end, Capacity capacity) {
    PlanBuilder({tokens, experts, topk, begin, end, PackStrategy::tuple_sort, capacity, PlanScope::local, 1});
  };
  EXPECT_DEATH(make(int64_t{1} << 30, 8, 2, 0, 8, {}), "do not fit int32");
  EXPECT_DEATH(make(1 << 20, 64, 8, 0, 64, {CapacityPolicy::pad, 1000}), "do not fit int32");
  EXPECT_DEATH(make(4, 2, 3, 0, 2, {}), "top 3");
  EXPECT_DEATH(make(4, 2, 1, 1, 3, {}), "experts \\[1, 3\\) of 2");
}

struct Shape {
  int64_t num_tokens;
  int num_experts, topk;
  double skew;
};

class PlanProperty : public testing::TestWithParam<Shape> {};

// Returns the plan by its plain definition: an expert's kept assignments in order, padding, then the
// assignments of the other experts.
RoutingPlan plain_plan(const Routing& routing, int begin, int end, Capacity capacity, PlanScope scope) {
  const auto num_assignments = static_cast<int64_t>(routing.expert.size());
  const int64_t limit = capacity_rows(capacity, num_assignments, routing.num_experts);
  const Rows kept = kept_assignments(routing, capacity);
  RoutingPlan plan{routing.num_tokens, routing.num_experts, routing.topk, begin, end, {0}, {}, {}, {}, 0};
  plan.assignment_row.assign(routing.expert.size(), -1);
  const auto add_row = [&](int32_t a) {
    if (a >= 0) plan.assignment_row[static_cast<size_t>(a)] = static_cast<int32_t>(plan.row_token.size());
    plan.row_token.push_back(a < 0 ? -1 : a / routing.topk);
    plan.row_assignment.push_back(a);
  };
  for (int e = begin; e < end; ++e) {
    for (int32_t a = 0; a < num_assignments; ++a) {
      if (routing.expert[static_cast<size_t>(a)] != e) continue;
      if (kept[static_cast<size_t>(a)]) add_row(a);
      plan.num_dropped += !kept[static_cast<size_t>(a)];
    }
    if (capacity.policy == CapacityPolicy::pad) {
      while (static_cast<int64_t>(plan.row_token.size()) < (e - begin + 1) * limit) add_row(-1);
    }
    plan.group_offset.push_back(static_cast<int64_t>(plan.row_token.size()));
  }
  if (scope == PlanScope::local) return plan;
  for (int32_t a = 0; a < num_assignments; ++a) {
    const int e = routing.expert[static_cast<size_t>(a)];
    if ((e < begin || e >= end) && kept[static_cast<size_t>(a)]) add_row(a);
  }
  plan.group_offset.push_back(static_cast<int64_t>(plan.row_token.size()));
  return plan;
}

void expect_equal(const RoutingPlan& got, const RoutingPlan& expected) {
  EXPECT_EQ(got.group_offset, expected.group_offset);
  EXPECT_EQ(got.row_token, expected.row_token);
  EXPECT_EQ(got.row_assignment, expected.row_assignment);
  EXPECT_EQ(got.assignment_row, expected.assignment_row);
  EXPECT_EQ(got.num_dropped, expected.num_dropped);
  EXPECT_EQ(plan_hash(got), plan_hash(expected));
}

// Both plans have the same assignments in each group; `plan` orders them by falling gate value and then by
// assignment.
void expect_score_order(const RoutingPlan& plan, const RoutingPlan& stable, const Routing& routing) {
  EXPECT_EQ(plan.group_offset, stable.group_offset);
  EXPECT_EQ(plan.num_dropped, stable.num_dropped);
  for (int g = 0; g < plan.expert_end - plan.expert_begin; ++g) {
    const int64_t begin = plan.group_offset[static_cast<size_t>(g)],
                  end = plan.group_offset[static_cast<size_t>(g + 1)];
    Rows got(plan.row_assignment.begin() + begin, plan.row_assignment.begin() + end);
    Rows expected(stable.row_assignment.begin() + begin, stable.row_assignment.begin() + end);
    const auto tail = std::find(expected.begin(), expected.end(), -1);
    std::stable_sort(expected.begin(), tail, [&](int32_t a, int32_t b) {
      return routing.weight[static_cast<size_t>(a)] > routing.weight[static_cast<size_t>(b)];
    });
    EXPECT_EQ(got, expected) << "group " << g;
  }
}

// Compares every strategy, team size and number of parts with the plain plan.
void expect_all_builders_agree(const Routing& routing, int begin, int end, Capacity capacity,
                               PlanScope scope) {
  const RoutingPlan expected = plain_plan(routing, begin, end, capacity, scope);
  ASSERT_EQ(plan_defect(expected, routing, &capacity), "");
  for (const PackStrategy strategy : kStrategies) {
    uint64_t first_hash = 0;
    for (const int num_threads : {1, 2, 3, 5}) {
      SCOPED_TRACE(fmt::format("strategy {}, {} threads", static_cast<int>(strategy), num_threads));
      PlanBuilder builder({routing.num_tokens, routing.num_experts, routing.topk, begin, end, strategy,
                           capacity, scope, num_threads});
      RoutingPlan plan = builder.make_plan();
      ThreadTeam team(num_threads);
      builder.build(routing, team, plan);
      ASSERT_EQ(plan_defect(plan, routing), "");
      ASSERT_EQ(plan_defect(plan, routing, &capacity), "");
      EXPECT_LE(plan.num_rows(), builder.max_rows());
      if (strategy == PackStrategy::expert_score_sort) {
        expect_score_order(plan, expected, routing);
      } else {
        expect_equal(plan, expected);
      }
      if (num_threads == 1) first_hash = plan_hash(plan);
      EXPECT_EQ(plan_hash(plan), first_hash);
      ThreadTeam other_team(2);  // not the size that the builder was made for
      builder.build(routing, other_team, plan);
      EXPECT_EQ(plan_hash(plan), first_hash);
    }
    if (testing::Test::HasFailure()) return;
  }
}

TEST_P(PlanProperty, AllBuildersAgree) {
  const Shape shape = GetParam();
  const Routing routing = random_routing(shape.num_tokens, shape.num_experts, shape.topk, shape.skew, 42);
  const int num_experts = shape.num_experts;
  const Range held[] = {
      {0, num_experts}, share(num_experts, 0, 2), share(num_experts, 1, 2), share(num_experts, 1, 4)};
  const Capacity capacities[] = {{},
                                 {CapacityPolicy::drop, 1.0},
                                 {CapacityPolicy::drop, 0.3},
                                 {CapacityPolicy::pad, 0.7},
                                 {CapacityPolicy::pad, 1.5}};
  for (const Range experts : held) {
    for (const Capacity capacity : capacities) {
      for (const PlanScope scope : {PlanScope::local, PlanScope::masked}) {
        SCOPED_TRACE(fmt::format("experts [{}, {}), policy {}, factor {}, scope {}", experts.begin,
                                 experts.end, static_cast<int>(capacity.policy), capacity.factor,
                                 static_cast<int>(scope)));
        expect_all_builders_agree(routing, static_cast<int>(experts.begin), static_cast<int>(experts.end),
                                  capacity, scope);
        if (testing::Test::HasFailure()) return;
      }
    }
  }
}

INSTANTIATE_TEST_SUITE_P(Shapes, PlanProperty,
                         testing::Values(Shape{64, 8, 2, 0},    // the ordinary case
                                         Shape{37, 1, 1, 0},    // one expert
                                         Shape{1, 8, 3, 0},     // one token, more threads than tokens
                                         Shape{13, 5, 5, 0},    // every expert by every token
                                         Shape{40, 17, 1, 60},  // all tokens on few experts, the others empty
                                         Shape{3, 60, 4, 1},    // more experts than assignments
                                         Shape{0, 4, 2, 0},     // nothing to do
                                         Shape{257, 33, 6, 3}));

// Four tokens, top 2 of 4 experts, of which one is held; a factor of 0.5 gives each expert one row.
TEST(PlanBuilder, RoomIsForTheRowsThatTheCapacityAllows) {
  const auto rows = [](Capacity capacity, PlanScope scope) {
    return PlanBuilder({4, 4, 2, 1, 2, PackStrategy::counting_sort, capacity, scope, 1}).max_rows();
  };
  EXPECT_EQ(rows({}, PlanScope::local), 8);
  EXPECT_EQ(rows({}, PlanScope::masked), 8);
  for (const CapacityPolicy policy : {CapacityPolicy::drop, CapacityPolicy::pad}) {
    EXPECT_EQ(rows({policy, 0.5}, PlanScope::local), 1);
    EXPECT_EQ(rows({policy, 0.5}, PlanScope::masked), 4);
  }
  EXPECT_EQ(rows({CapacityPolicy::drop, 5}, PlanScope::masked), 8);
  EXPECT_EQ(rows({CapacityPolicy::pad, 5}, PlanScope::masked), 10 + 8);
}

TEST(PlanBuilder, WorkspaceIsThatOfTheStrategy) {
  const auto bytes = [](PackStrategy strategy, int begin, int end) {
    return PlanBuilder({1000, 16, 4, begin, end, strategy, {}, PlanScope::local, 2}).workspace_bytes();
  };
  const size_t keys = 4000 * sizeof(int32_t), counting = bytes(PackStrategy::counting_sort, 0, 16);
  EXPECT_GE(counting, 2 * 16 * sizeof(int32_t));
  EXPECT_EQ(bytes(PackStrategy::argsort, 0, 16), counting + keys);
  EXPECT_EQ(bytes(PackStrategy::expert_score_sort, 0, 16), counting + keys);
  EXPECT_EQ(bytes(PackStrategy::tuple_sort, 0, 16), counting + 2 * keys);
}

}  // namespace
}  // namespace moehill
