// A RoutingPlan says in which row a device computes each assignment, and how the results come back to their
// tokens. It holds integers only: no weights and no communication.
//
// A plan is a value. PlanBuilder makes it once in a step; forward, combine and backward read it. All arrays
// get their sizes before the clock starts, so that building a plan allocates nothing.
//
//   PlanBuilder builder({.num_tokens = T, .num_experts = E, .topk = k, .expert_end = E, .num_threads = 2});
//   RoutingPlan plan = builder.make_plan();   // once
//   builder.build(routing, team, plan);       // in each step
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/machine/thread_team.h"
#include "moehill/routing/capacity.h"

namespace moehill {

// This is the expert id of an assignment without an expert. Such an assignment has no row and adds nothing to
// its token.
inline constexpr int32_t kNoExpert = -1;

// Routing is the router's decision: the j-th choice of token t is expert[t * topk + j], with gate value
// weight[t * topk + j].
struct Routing {
  int64_t num_tokens = 0;
  int num_experts = 0;
  int topk = 0;
  std::vector<int32_t> expert;  // [T, k], distinct within a token, or kNoExpert
  std::vector<float> weight;    // [T, k]
  // [T, spares] the token's next choices, the best first; empty if the capacity needs none.
  std::vector<int32_t> spare{};
  // [T, k] the zero expert that is chosen, counted from 0, or -1. A zero expert has no row: where one is
  // chosen, expert[] is kNoExpert, and its gate value multiplies the token itself. Empty if the model has no
  // zero experts.
  std::vector<int32_t> zero{};
  int num_zero_experts = 0;

  int num_spares() const { return num_tokens == 0 ? 0 : static_cast<int>(std::ssize(spare) / num_tokens); }
  int num_logits() const { return num_experts + num_zero_experts; }
  // Returns the number of the logit of choice `a`: its expert, or E + its zero expert, or kNoExpert.
  int32_t logit_of(size_t a) const { return zero.empty() || zero[a] < 0 ? expert[a] : num_experts + zero[a]; }
};

// PackStrategy is the way in which a builder sorts rows. All give the same groups. expert_score_sort orders
// rows within a group by gate value; the others order them by assignment.
enum class PackStrategy {
  argsort,            // stable sort of assignment numbers by expert
  tuple_sort,         // sort of (expert, assignment) pairs
  expert_score_sort,  // by expert; within an expert by falling gate value, ties by assignment
  counting_sort,      // histogram, prefix, scatter; parallel and stable
};
constexpr auto words(PackStrategy) {
  return std::array{"argsort", "tuple_sort", "expert_score_sort", "counting_sort"};
}

// PlanScope says which rows a plan has of experts that do not belong to the device.
enum class PlanScope {
  local,   // only the rows of experts [expert_begin, expert_end)
  masked,  // all kept assignments; the rows of other experts follow as one more group
};

// RoutingPlan is the plan of one device. Padding rows are rows that CapacityPolicy::pad adds.
struct RoutingPlan {
  int64_t num_tokens = 0;
  int num_experts = 0;  // of the whole block
  int topk = 0;
  int expert_begin = 0, expert_end = 0;  // the experts whose rows this plan holds
  // Group g is expert expert_begin + g and has the rows [group_offset[g], group_offset[g + 1]). With
  // PlanScope::masked one more group follows, the rows of all other experts. Its size is num_groups + 1.
  std::vector<int64_t> group_offset;
  std::vector<int32_t> row_token;       // [rows] token of a row; -1 for a padding row
  std::vector<int32_t> row_assignment;  // [rows] t * topk + j of a row; -1 for a padding row
  std::vector<int32_t> assignment_row;  // [T * k] row of an assignment; -1 if dropped or not held here
  int64_t num_dropped = 0;  // assignments of the held experts that exceed the capacity, in token order

  int num_groups() const { return static_cast<int>(group_offset.size()) - 1; }
  int64_t num_rows() const { return group_offset.empty() ? 0 : group_offset.back(); }
};

// PlanSpec has the sizes and options of the plans that a builder makes.
struct PlanSpec {
  int64_t num_tokens = 0;  // the most tokens of a plan
  int num_experts = 1, topk = 1;
  int expert_begin = 0, expert_end = 0;  // the experts that the plans hold
  PackStrategy strategy = PackStrategy::counting_sort;
  Capacity capacity{};
  PlanScope scope = PlanScope::local;
  // Number of shares into which the builder cuts the tokens. The size of the team is best. Plans do not
  // depend on it.
  int num_threads = 1;
};

// The calling thread alone makes plans of at most this many assignments, since waking the team would take
// longer.
inline constexpr int64_t kFewAssignments = 512;

// PlanBuilder makes plans of one shape, one after the other, and owns the work space for them. Only one
// thread may use it at a time.
//
// Every strategy first counts the assignments for each (share of the tokens, expert). This gives the group
// offsets and the rank of each assignment within its expert, and so which ones are dropped. counting_sort
// then writes the rows at once. The other strategies gather the kept assignments of the held experts, sort
// them on one thread, and write the rows in parallel.
class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanSpec& spec);

  // Fills `plan`, which make_plan() must have made. The plan is the same for any team size. It allocates
  // nothing, except with argsort, whose std::stable_sort takes a buffer. Throws InputError if an expert id is
  // neither in [0, num_experts) nor kNoExpert.
  void build(const Routing& routing, ThreadTeam& team, RoutingPlan& plan);
  RoutingPlan make_plan() const;  // an empty plan with room for the largest one

  // Returns the most rows that a plan can have. For the held experts they are at most num_assignments or
  // E_local * C (with `pad` exactly E_local * C). PlanScope::masked adds the rows of the other experts.
  int64_t max_rows() const { return max_rows_; }
  size_t workspace_bytes() const;

 private:
  // Part says where the assignments of one share of the tokens begin: among the kept assignments of the held
  // experts, and among the kept assignments of the other experts.
  struct Part {
    int64_t kept_begin = 0, other_begin = 0;
  };

  bool holds(int expert) const { return expert >= spec_.expert_begin && expert < spec_.expert_end; }
  int num_held() const { return spec_.expert_end - spec_.expert_begin; }
  int32_t* ranks_of(int part) { return ranks_.data() + part * rank_stride_; }
  void take_num_tokens(int64_t num_tokens, RoutingPlan& plan);
  // Calls body(begin, end) on the team's shares of [0, n), or once for all of it if the plan is small.
  template <typename Body>
  void for_shares(ThreadTeam& team, int64_t n, const Body& body) const;
  void count(const Routing& routing, ThreadTeam& team);
  void lay_out(RoutingPlan& plan);
  template <typename OnKept>
  void walk(const Routing& routing, int part, RoutingPlan& plan, const OnKept& on_kept);
  void scatter(const Routing& routing, ThreadTeam& team, RoutingPlan& plan);
  void gather_keys(const Routing& routing, ThreadTeam& team, RoutingPlan& plan);
  void sort_keys(const Routing& routing);
  void place_keys(ThreadTeam& team, RoutingPlan& plan) const;
  void mark_padding(ThreadTeam& team, RoutingPlan& plan) const;

  PlanSpec spec_;  // its num_tokens is the number of tokens of the plan that is being built
  int64_t max_tokens_;
  int64_t capacity_rows_ = 0, max_rows_ = 0;
  int64_t rank_stride_ = 0;  // int32 of a part in ranks_: E, rounded up to whole cache lines
  // [parts][rank_stride]. First it has the number of assignments of each part for each expert; then the rank
  // within its expert of the part's next assignment.
  std::vector<int32_t> ranks_;
  std::vector<int64_t> load_;  // [E] assignments per expert before capacity
  std::vector<int64_t>
      key_begin_;  // [held + 1] where each held expert's kept assignments begin among the sorted keys
  std::vector<Part> parts_;
  std::vector<int32_t> keys_;                            // assignments to sort (argsort, expert_score_sort)
  std::vector<std::pair<int32_t, int32_t>> tuple_keys_;  // (expert, assignment) (tuple_sort)
};

// Returns FNV-1a over every array and count of the plan: equal plans have equal hashes.
uint64_t plan_hash(const RoutingPlan& plan);

// Returns "" for a sound plan, or the first broken property in words. Tests and --check full use it. With
// `capacity`, the plan must drop exactly the assignments that this capacity drops; without it, the
// assignments that some capacity would drop.
std::string plan_defect(const RoutingPlan& plan, const Routing& routing, const Capacity* capacity = nullptr);

}  // namespace moehill
