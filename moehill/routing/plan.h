// Routing plan: where each assignment goes and how it comes back. Integers only; no communication, no
// weights.
//
// A value made once per step by PlanBuilder and read by forward, combine and backward. Every array is sized
// before the clock starts, so that building a plan allocates nothing.
#pragma once

#include <cstdint>
#include <string>
#include <utility>
#include <vector>

#include "moehill/base/words.h"
#include "moehill/machine/thread_team.h"
#include "moehill/routing/capacity.h"

namespace moehill {

// An expert id of an assignment that goes to nobody: it has no row and adds nothing.
inline constexpr int32_t kNoExpert = -1;

// The router's decision: token t's j-th choice is expert[t * topk + j] with gate value weight[t * topk + j].
struct Routing {
  int64_t num_tokens = 0;
  int num_experts = 0;
  int topk = 0;
  std::vector<int32_t> expert;  // [T, k], distinct within a token, or kNoExpert
  std::vector<float> weight;    // [T, k]
  // [T, spares] what the token would choose next, best first; empty where nobody asked.
  std::vector<int32_t> spare{};
  // [T, k] which zero expert a choice is, from 0 on, or -1. Where it is one, expert[] has kNoExpert, so that
  // it has no row; its gate value multiplies the token itself. Empty without zero experts.
  std::vector<int32_t> zero{};
  int num_zero_experts = 0;

  int num_spares() const { return num_tokens == 0 ? 0 : static_cast<int>(std::ssize(spare) / num_tokens); }
  int num_logits() const { return num_experts + num_zero_experts; }
  // The logit of choice `a`: its expert's, or behind those of the experts a zero expert's; else kNoExpert.
  int32_t logit_of(size_t a) const { return zero.empty() || zero[a] < 0 ? expert[a] : num_experts + zero[a]; }
};

enum class PackStrategy {
  argsort,            // stable sort of assignment numbers by expert
  tuple_sort,         // sort of (expert, assignment) pairs
  expert_score_sort,  // by expert, within an expert by falling gate value, ties by assignment
  counting_sort,      // histogram, prefix, scatter; parallel and stable
};
constexpr auto words(PackStrategy) {
  return std::array{"argsort", "tuple_sort", "expert_score_sort", "counting_sort"};
}

// Says what a plan holds of the experts that are not the device's own.
enum class PlanScope {
  local,   // rows of experts [expert_begin, expert_end) only
  masked,  // all kept assignments: those of other experts follow as one more group at the end (dense_masked)
};

struct RoutingPlan {
  int64_t num_tokens = 0;
  int num_experts = 0;  // of the whole block
  int topk = 0;
  int expert_begin = 0, expert_end = 0;  // experts that this plan holds
  // Rows of group g (expert expert_begin + g) are [group_offset[g], group_offset[g + 1]). With
  // PlanScope::masked one more group follows, the rows of everybody else's experts. Size: num_groups + 1.
  std::vector<int64_t> group_offset;
  std::vector<int32_t> row_token;       // [rows] token of a row; -1 for a padding row
  std::vector<int32_t> row_assignment;  // [rows] t * topk + j of a row; -1 for a padding row
  std::vector<int32_t> assignment_row;  // [T * k] row of an assignment; -1 if dropped or not held here
  int64_t num_dropped = 0;              // assignments of the held experts past the capacity, in token order

  int num_groups() const { return static_cast<int>(group_offset.size()) - 1; }
  int64_t num_rows() const { return group_offset.empty() ? 0 : group_offset.back(); }
};

// The sizes and options that plans are made for.
struct PlanSpec {
  int64_t num_tokens = 0;  // at most
  int num_experts = 1, topk = 1;
  int expert_begin = 0, expert_end = 0;  // experts that the plans hold
  PackStrategy strategy = PackStrategy::counting_sort;
  Capacity capacity{};
  PlanScope scope = PlanScope::local;
  // Shares that the tokens are cut into, best the size of the team that builds; plans do not depend on it.
  int num_threads = 1;
};

// Plans of at most so many assignments are made by the caller alone, in a few microseconds.
inline constexpr int64_t kFewAssignments = 512;

// Makes plans of one shape; owns the work space.
//
// Every strategy first counts the assignments per (share of the tokens, expert), which gives group offsets
// and the rank of each assignment within its expert, and so the drop set. Then counting_sort writes the rows
// at once; the others gather the kept assignments of the held experts, sort those on one thread, and write
// the rows in parallel.
class PlanBuilder {
 public:
  explicit PlanBuilder(const PlanSpec& spec);

  // Fills `plan`, made by make_plan(). The same plan for any team size. Allocates nothing, except with
  // argsort, whose std::stable_sort takes a buffer. Throws InputError when an expert id is neither in [0,
  // num_experts) nor kNoExpert.
  void build(const Routing& routing, ThreadTeam& team, RoutingPlan& plan);
  RoutingPlan make_plan() const;  // sized for the largest plan, empty

  // Most rows a plan can have: those of the held experts, at most num_assignments or E_local * C (with `pad`
  // exactly E_local * C); with PlanScope::masked those of the other experts besides.
  int64_t max_rows() const { return max_rows_; }
  size_t workspace_bytes() const;

 private:
  // The place where a share of the tokens begins among the kept assignments of the held experts, and of the
  // others.
  struct Part {
    int64_t kept_begin = 0, other_begin = 0;
  };

  bool holds(int expert) const { return expert >= spec_.expert_begin && expert < spec_.expert_end; }
  int num_held() const { return spec_.expert_end - spec_.expert_begin; }
  int32_t* ranks_of(int part) { return ranks_.data() + part * rank_stride_; }
  void take_num_tokens(int64_t num_tokens, RoutingPlan& plan);
  // Calls body(begin, end) for shares of [0, n), or for all of it.
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

  PlanSpec spec_;  // num_tokens: those of the plan that is built
  int64_t max_tokens_;
  int64_t capacity_rows_ = 0, max_rows_ = 0;
  int64_t rank_stride_ = 0;  // int32 per part in ranks_: E rounded up to whole cache lines
  // [parts][rank_stride]: first the count per expert of each part, then the rank within its expert of the
  // next assignment.
  std::vector<int32_t> ranks_;
  std::vector<int64_t> load_;  // [E] assignments per expert before capacity
  std::vector<int64_t>
      key_begin_;  // [held + 1] begin of each held expert's kept assignments among the sorted keys
  std::vector<Part> parts_;
  std::vector<int32_t> keys_;                            // assignments to sort (argsort, expert_score_sort)
  std::vector<std::pair<int32_t, int32_t>> tuple_keys_;  // (expert, assignment) (tuple_sort)
};

// FNV-1a over every array and count of the plan: equal plans have equal hashes.
uint64_t plan_hash(const RoutingPlan& plan);

// Throws nothing; returns an empty string, or the first broken property of the plan in words (used by tests
// and --check full). Without `capacity` the drop set must be that of some capacity; with it, of this one.
std::string plan_defect(const RoutingPlan& plan, const Routing& routing, const Capacity* capacity = nullptr);

}  // namespace moehill
