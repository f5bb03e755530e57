// Lies about the plan and the gate values. They wrap PlanBuilder::build, combine_rows and scatter_rows.
#include <algorithm>
#include <vector>

#include "moehill/kernels/rows.h"
#include "moehill/routing/plan.h"
#include "tests/lies/lie.h"

namespace moehill {
namespace {

const Lie offset_off_by_one("offset_off_by_one", "every expert boundary after the first shifted by one row");
const Lie padding_in_first_group("padding_in_first_group",
                                 "padding counted to the first expert: boundaries shifted by five rows");
const Lie last_token_lost("last_token_lost", "the last token's routed result is missing");
const Lie token_lost("token_lost", "one token gets nothing from the routed experts");
const Lie every_30th_token_lost("every_30th_token_lost",
                                "every 30th token gets nothing from the routed experts");
const Lie duplicate_row("duplicate_row", "one row computed for its neighbour's token");
const Lie rows_of_neighbours("rows_of_neighbours", "the last row of each expert is the next token's");
const Lie rows_exchanged("rows_exchanged", "two tokens of one expert get each other's results");
const Lie choice_lost("choice_lost", "one assignment of one token is left out of its sum");
const Lie small_gates_skipped("small_gates_skipped",
                              "assignments with a gate value below 2^-8 are left out of their sums");
const Lie plan_left_out("plan_left_out", "no plan is made: that of the step before is used");

const Lie gate_value_left_out("gate_value_left_out", "gate values taken as 1 in the sums over experts");
const Lie wrong_gate_order("wrong_gate_order", "gate values of a token's first two choices exchanged");
const Lie combine_left_out("combine_left_out", "the sums over experts are not made");
const Lie combine_grad_left_out("combine_grad_left_out", "the sums of dx over experts are not made");
const Lie base_left_out("base_left_out", "what the sums over experts are added to is left out");

void shift_boundaries(RoutingPlan& plan, int64_t shift) {
  const int64_t rows = plan.num_rows();
  for (size_t e = 1; e + 1 < plan.group_offset.size(); ++e)
    plan.group_offset[e] = std::min(plan.group_offset[e] + shift, rows);
}

void lose_token(RoutingPlan& plan, int64_t token) {
  const auto first = plan.assignment_row.begin() + token * plan.topk;
  std::fill(first, first + plan.topk, -1);
  for (int64_t r = 0; r < plan.num_rows(); ++r) {
    int32_t& of_row = plan.row_token[static_cast<size_t>(r)];
    if (of_row == token) of_row = -1;
  }
}

// Returns the last token up to `token` that has a row here, or else the last of all: a device may hold few.
int64_t last_with_rows(const RoutingPlan& plan, int64_t token) {
  for (int64_t i = 0; i < plan.num_tokens; ++i) {
    const int64_t t = (token - i + plan.num_tokens) % plan.num_tokens;
    const auto first = plan.assignment_row.begin() + t * plan.topk;
    if (std::any_of(first, first + plan.topk, [](int32_t row) { return row >= 0; })) return t;
  }
  return token;
}

// Gives two neighbouring rows of different tokens the same token.
void double_row(RoutingPlan& plan) {
  for (size_t r = 1; r < static_cast<size_t>(plan.num_rows()); ++r) {
    int32_t &first = plan.row_token[r - 1], &second = plan.row_token[r];
    if (first < 0 || second < 0 || first == second) continue;
    second = first;
    return;
  }
}

void take_neighbours(RoutingPlan& plan) {
  for (int g = 0; g < plan.num_groups(); ++g) {
    const size_t begin = static_cast<size_t>(plan.group_offset[static_cast<size_t>(g)]);
    size_t end = static_cast<size_t>(plan.group_offset[static_cast<size_t>(g) + 1]);
    while (end > begin && plan.row_token[end - 1] < 0) --end;  // padding
    if (end == begin) continue;
    plan.row_token[end - 1] = static_cast<int32_t>((plan.row_token[end - 1] + 1) % plan.num_tokens);
  }
}

// Exchanges the outputs of two rows of the first group that has two. Their inputs stay.
void exchange_rows(RoutingPlan& plan) {
  for (int g = 0; g < plan.num_groups(); ++g) {
    const int64_t begin = plan.group_offset[static_cast<size_t>(g)];
    if (plan.group_offset[static_cast<size_t>(g) + 1] - begin < 2) continue;
    const int32_t a = plan.row_assignment[static_cast<size_t>(begin)];
    const int32_t b = plan.row_assignment[static_cast<size_t>(begin + 1)];
    if (a < 0 || b < 0) continue;
    std::swap(plan.assignment_row[static_cast<size_t>(a)], plan.assignment_row[static_cast<size_t>(b)]);
    return;
  }
}

void lose_choice(RoutingPlan& plan) {
  const int64_t n = static_cast<int64_t>(plan.assignment_row.size());
  const int64_t first = place(n);
  for (int64_t i = 0; i < n; ++i) {
    int32_t& row = plan.assignment_row[static_cast<size_t>((first + i) % n)];
    if (row < 0) continue;
    row = -1;
    return;
  }
}

// Leaves out what is smaller than a rounding error of its sum in bf16.
void skip_small_gates(const Routing& routing, RoutingPlan& plan, const ThreadTeam& team) {
  for (size_t a = 0; a < plan.assignment_row.size(); ++a) {
    int32_t& row = plan.assignment_row[a];
    if (row >= 0 && routing.weight[a] < 0x1p-8f && small_gates_skipped.told_on(team)) row = -1;
  }
}

void spoil(RoutingPlan& plan, const ThreadTeam& team) {
  if (plan.num_tokens == 0) return;
  if (offset_off_by_one.told_on(team)) shift_boundaries(plan, 1);
  if (padding_in_first_group.told_on(team)) shift_boundaries(plan, 5);
  if (last_token_lost.told_on(team)) lose_token(plan, last_with_rows(plan, plan.num_tokens - 1));
  if (token_lost.told_on(team)) lose_token(plan, last_with_rows(plan, place(plan.num_tokens)));
  if (every_30th_token_lost.told_on(team)) {
    for (int64_t t = place(std::min<int64_t>(30, plan.num_tokens)); t < plan.num_tokens; t += 30)
      lose_token(plan, t);
  }
  if (duplicate_row.told_on(team)) double_row(plan);
  if (rows_of_neighbours.told_on(team)) take_neighbours(plan);
  if (rows_exchanged.told_on(team)) exchange_rows(plan);
  if (choice_lost.told_on(team)) lose_choice(plan);
}

}  // namespace

SEAM("_ZN7moehill11PlanBuilder5buildERKNS_7RoutingERNS_10ThreadTeamERNS_11RoutingPlanE", void, build,
     PlanBuilder*, const Routing&, ThreadTeam&, RoutingPlan&);

void lying_build(PlanBuilder* builder, const Routing& routing, ThreadTeam& team, RoutingPlan& plan) {
  if (plan_left_out.told_on(team)) return;
  real_build(builder, routing, team, plan);
  spoil(plan, team);
  skip_small_gates(routing, plan, team);
}

SEAM("_ZN7moehill12combine_rowsERNS_10ThreadTeamERKNS_11CombineRowsERKNS_7MatViewE", void, combine_rows,
     ThreadTeam&, const CombineRows&, const MatView&);

void lying_combine_rows(ThreadTeam& team, const CombineRows& c, const MatView& out) {
  if (c.weight != nullptr && combine_left_out.told_on(team)) return;
  if (c.weight == nullptr && combine_grad_left_out.told_on(team)) return;
  CombineRows spoilt = c;
  if (c.base.data != nullptr && base_left_out.told_on(team)) spoilt.base = {};
  if (c.weight != nullptr && gate_value_left_out.told_on(team)) spoilt.weight = nullptr;
  std::vector<float> exchanged;
  if (c.weight != nullptr && c.topk > 1 && out.rows > 0 && wrong_gate_order.told_on(team)) {
    const int64_t tokens =
        c.token_of == nullptr ? out.rows : 1 + *std::max_element(c.token_of, c.token_of + out.rows);
    exchanged.assign(c.weight, c.weight + tokens * c.topk);
    for (size_t a = 0; a < exchanged.size(); a += static_cast<size_t>(c.topk))
      std::swap(exchanged[a], exchanged[a + 1]);
    spoilt.weight = exchanged.data();
  }
  real_combine_rows(team, spoilt, out);
}

SEAM("_ZN7moehill12scatter_rowsERNS_10ThreadTeamERKNS_11ScatterRowsERKNS_7MatViewES7_", void, scatter_rows,
     ThreadTeam&, const ScatterRows&, const MatView&, const MatView&);

void lying_scatter_rows(ThreadTeam& team, const ScatterRows& s, const MatView& sum, const MatView& out) {
  if (s.weight != nullptr && combine_left_out.told_on(team)) return;
  if (s.weight == nullptr && combine_grad_left_out.told_on(team)) return;
  ScatterRows spoilt = s;
  if (s.base.data != nullptr && base_left_out.told_on(team)) spoilt.base = {};
  if (s.weight != nullptr && gate_value_left_out.told_on(team)) spoilt.weight = nullptr;
  real_scatter_rows(team, spoilt, sum, out);
}

}  // namespace moehill
