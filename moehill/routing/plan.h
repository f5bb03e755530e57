// Routing plan: where each assignment goes and how it comes back. Integers only; no communication, no weights.
//
// A value made once per step by PlanBuilder and read by forward, combine and backward. Every array is sized before the
// clock starts, so that building a plan allocates nothing.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/machine/thread_team.h"

namespace moehill {

// The router's decision: token t's j-th choice is expert[t * topk + j] with gate value weight[t * topk + j].
struct Routing {
  int64_t num_tokens = 0;
  int num_experts = 0;
  int topk = 0;
  std::vector<int32_t> expert;  // [T, k], distinct within a token
  std::vector<float> weight;    // [T, k]
};

enum class PackStrategy {
  argsort,            // stable sort of assignment numbers by expert
  tuple_sort,         // sort of (expert, assignment) pairs
  expert_score_sort,  // by expert, within an expert by falling gate value, ties by assignment
  counting_sort,      // histogram, prefix, scatter; parallel and stable
};

enum class CapacityPolicy { none, drop, pad };

struct Capacity {
  CapacityPolicy policy = CapacityPolicy::none;
  double factor = 0;  // C = ceil(factor * T * k / E) rows per expert; unused with `none`
};

// Rows per expert under a capacity policy; for `none` the largest possible, num_assignments.
int64_t capacity_rows(const Capacity& capacity, int64_t num_assignments, int num_experts);

// What a device makes of the experts it does not hold.
enum class PlanScope {
  local,   // rows of experts [expert_begin, expert_end) only
  masked,  // all kept assignments: those of other experts follow as one more group at the end (dense_masked)
};

struct RoutingPlan {
  int64_t num_tokens = 0;
  int num_experts = 0;  // of the whole block
  int topk = 0;
  int expert_begin = 0, expert_end = 0;  // experts that this plan holds
  // Rows of group g (expert expert_begin + g) are [group_offset[g], group_offset[g + 1]). With PlanScope::masked one more
  // group follows, the rows of everybody else's experts. Size: num_groups + 1.
  std::vector<int64_t> group_offset;
  std::vector<int32_t> row_token;       // [rows] token of a row; -1 for a padding row
  std::vector<int32_t> row_assignment;  // [rows] t * topk + j of a row; -1 for a padding row
  std::vector<int32_t> assignment_row;  // [T * k] row of an assignment; -1 if dropped or not held here
  int64_t num_dropped = 0;              // assignments of the held experts past the capacity

  int num_groups() const { return static_cast<int>(group_offset.size()) - 1; }
  int64_t num_rows() const { return group_offset.empty() ? 0 : group_offset.back(); }
};

// Makes plans of one shape; owns the work space.
class PlanBuilder {
 public:
  // Most rows a plan can have: num_assignments, or E_local * C with `pad`.
  PlanBuilder(int64_t num_tokens, int num_experts, int topk, int expert_begin, int expert_end, PackStrategy strategy,
              Capacity capacity, PlanScope scope, int num_threads);

  // Fills `plan`, made by make_plan(). The same plan for any team size. Allocates nothing with counting_sort.
  // Throws InputError when an expert id is outside [0, num_experts).
  void build(const Routing& routing, ThreadTeam& team, RoutingPlan& plan);
  RoutingPlan make_plan() const;  // sized for the largest plan, empty
  int64_t max_rows() const { return max_rows_; }
  size_t workspace_bytes() const;

 private:
  // (the implementer of plan.cc completes this part)
  int64_t num_tokens_;
  int num_experts_, topk_, expert_begin_, expert_end_;
  PackStrategy strategy_;
  Capacity capacity_;
  PlanScope scope_;
  int64_t max_rows_ = 0;
};

// FNV-1a over every array of the plan: equal plans have equal hashes.
uint64_t plan_hash(const RoutingPlan& plan);

// Throws nothing; returns an empty string, or the first broken property of the plan in words (used by tests and --check full).
std::string plan_defect(const RoutingPlan& plan, const Routing& routing);

}  // namespace moehill
