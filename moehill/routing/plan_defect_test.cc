// plan_defect finds and names the faults that these tests put into right plans.
#include <gtest/gtest.h>

#include <functional>

#include "moehill/base/partition.h"
#include "moehill/routing/plan.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

struct Fault {
  const char* name;
  const char* words;  // expected in the defect
  std::function<void(RoutingPlan&)> plant;
};
void PrintTo(const Fault& fault, std::ostream* out) { *out << fault.name; }

// Assignments of expert 0: {0, 3, 5, 6}, of 1: {1, 4}, of 2: {2, 7}, of 3: none.
Routing routing() { return routing_of(4, 2, {0, 1, 2, 0, 1, 0, 0, 2}); }

void swap_rows(RoutingPlan& plan, size_t a, size_t b) {
  std::swap(plan.row_token[a], plan.row_token[b]);
  std::swap(plan.row_assignment[a], plan.row_assignment[b]);
  for (const size_t row : {a, b}) {
    const int32_t assignment = plan.row_assignment[row];
    if (assignment >= 0) plan.assignment_row[static_cast<size_t>(assignment)] = static_cast<int32_t>(row);
  }
}

void drop_row(RoutingPlan& plan, size_t row) {
  plan.assignment_row[static_cast<size_t>(plan.row_assignment[row])] = -1;
  plan.row_token.erase(plan.row_token.begin() + static_cast<int64_t>(row));
  plan.row_assignment.erase(plan.row_assignment.begin() + static_cast<int64_t>(row));
  for (int32_t& r : plan.assignment_row) r -= r > static_cast<int32_t>(row);
  for (int64_t& offset : plan.group_offset) offset -= offset > static_cast<int64_t>(row);
}

class PlantedFault : public testing::TestWithParam<Fault> {};

// Plan of experts [0, 3), rows {0, 3, 5, 6 | 1, 4 | 2, 7}.
TEST_P(PlantedFault, IsFound) {
  RoutingPlan plan = build_plan(routing(), {0, 3}, PackStrategy::counting_sort);
  ASSERT_EQ(plan_defect(plan, routing()), "");
  GetParam().plant(plan);
  EXPECT_NE(plan_defect(plan, routing()).find(GetParam().words), std::string::npos)
      << plan_defect(plan, routing());
}

INSTANTIATE_TEST_SUITE_P(
    Faults, PlantedFault,
    testing::Values(
        Fault{"boundary_shifted", "row 3 of group 1 is of expert 0",
              [](RoutingPlan& p) { --p.group_offset[1]; }},
        Fault{"offsets_fall", "back to row",
              [](RoutingPlan& p) { std::swap(p.group_offset[1], p.group_offset[2]); }},
        Fault{"first_offset", "group 0 begins", [](RoutingPlan& p) { p.group_offset[0] = 1; }},
        Fault{"group_missing", "groups for", [](RoutingPlan& p) { p.group_offset.resize(3); }},
        Fault{"no_offsets", "groups for", [](RoutingPlan& p) { p.group_offset.clear(); }},
        Fault{"row_missing", "for 8 rows", [](RoutingPlan& p) { p.row_token.pop_back(); }},
        Fault{"wrong_token", "row 2 has token 3", [](RoutingPlan& p) { p.row_token[2] = 3; }},
        Fault{"padding_in_token_only", "row 2 has token -1", [](RoutingPlan& p) { p.row_token[2] = -1; }},
        Fault{"assignment_out_of_range", "assignment 8", [](RoutingPlan& p) { p.row_assignment[2] = 8; }},
        Fault{"duplicate_row", "whose row is 0",
              [](RoutingPlan& p) {
                p.row_token[1] = p.row_token[0], p.row_assignment[1] = p.row_assignment[0];
              }},
        Fault{"way_back_wrong", "whose row is 1",
              [](RoutingPlan& p) { std::swap(p.assignment_row[0], p.assignment_row[3]); }},
        Fault{"way_back_out_of_range", "has row 99",
              [](RoutingPlan& p) {
                drop_row(p, 3);
                p.assignment_row[6] = 99;
              }},
        Fault{"wrong_expert", "of expert", [](RoutingPlan& p) { swap_rows(p, 0, 4); }},
        Fault{"uncounted_drop", "num_dropped is 0", [](RoutingPlan& p) { drop_row(p, 3); }},
        Fault{"drop_invented", "num_dropped is 1", [](RoutingPlan& p) { p.num_dropped = 1; }},
        Fault{"early_one_dropped", "after an earlier one",
              [](RoutingPlan& p) {
                drop_row(p, 0);
                p.num_dropped = 1;
              }},
        Fault{"capacities_differ", "capacity 1",
              [](RoutingPlan& p) {
                drop_row(p, 5);  // expert 1 keeps one, expert 0 four
                p.num_dropped = 1;
              }},
        Fault{"padding_in_front", "follows padding",
              [](RoutingPlan& p) { p.assignment_row[0] = p.row_token[0] = p.row_assignment[0] = -1; }},
        Fault{"padding_of_one_group", "padded ones have",
              [](RoutingPlan& p) {
                p.row_token.push_back(-1), p.row_assignment.push_back(-1);
                ++p.group_offset[3];
              }},
        Fault{"shape", "another shape", [](RoutingPlan& p) { p.topk = 1; }},
        Fault{"held_range", "held experts", [](RoutingPlan& p) { p.expert_end = 7; }},
        Fault{"assignments_short", "T * k", [](RoutingPlan& p) { p.assignment_row.pop_back(); }}),
    [](const auto& test) { return test.param.name; });

TEST(PlanDefect, PaddingOfTheWrongGroup) {
  // The reference had this fault: all padding counted as rows of the first group. C = 3.
  const Capacity capacity{CapacityPolicy::pad, 1.5};
  RoutingPlan plan = build_plan(routing(), {1, 3}, PackStrategy::counting_sort, capacity);
  ASSERT_EQ(plan_defect(plan, routing(), &capacity), "");
  ++plan.group_offset[1];
  EXPECT_NE(plan_defect(plan, routing()), "");
}

TEST(PlanDefect, CapacityKnownFindsMore) {
  const Capacity two{CapacityPolicy::drop, 1.0}, three{CapacityPolicy::drop, 1.5}, none{};
  const RoutingPlan plan = build_plan(routing(), {0, 4}, PackStrategy::counting_sort, two);
  EXPECT_EQ(plan_defect(plan, routing()), "");
  EXPECT_EQ(plan_defect(plan, routing(), &two), "");
  EXPECT_NE(plan_defect(plan, routing(), &three), "");
  EXPECT_NE(plan_defect(plan, routing(), &none), "");
  const Capacity pad{CapacityPolicy::pad, 1.0};
  EXPECT_NE(plan_defect(plan, routing(), &pad), "");
  EXPECT_NE(plan_defect(build_plan(routing(), {0, 4}, PackStrategy::argsort, pad), routing(), &two), "");
}

TEST(PlanDefect, NoExpertWithPaddingDrops) {
  const Capacity capacity{CapacityPolicy::pad, 1.5};
  const RoutingPlan plan = build_plan(routing(), {0, 4}, PackStrategy::counting_sort, capacity);
  ASSERT_EQ(plan_defect(plan, routing()), "");
  for (int g = 0; g < 4; ++g) {
    RoutingPlan lost = plan;
    int64_t row = lost.group_offset[idx(g + 1)] - 1;
    while (row >= lost.group_offset[idx(g)] && lost.row_assignment[idx(row)] == -1) --row;
    if (row < lost.group_offset[idx(g)]) continue;  // no token chose this expert
    lost.assignment_row[idx(lost.row_assignment[idx(row)])] = -1;
    lost.row_assignment[idx(row)] = lost.row_token[idx(row)] = -1;
    ++lost.num_dropped;
    EXPECT_NE(plan_defect(lost, routing()), "") << g;
  }
}

TEST(PlanDefect, MaskedGroup) {
  RoutingPlan plan = build_plan(routing(), {1, 2}, PackStrategy::counting_sort, {}, PlanScope::masked);
  ASSERT_EQ(plan_defect(plan, routing()), "");
  RoutingPlan swapped = plan, lost = plan;
  swap_rows(swapped, 3, 4);
  EXPECT_NE(plan_defect(swapped, routing()).find("out of assignment order"), std::string::npos);
  drop_row(lost, 2);
  EXPECT_NE(plan_defect(lost, routing()), "");
}

}  // namespace
}  // namespace moehill
