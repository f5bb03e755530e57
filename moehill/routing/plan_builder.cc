// This file builds plans from the router's decision by one of four pack strategies. build() has the order of
// the steps. It does not route: choices and gate values are given. routing/plan.h shows its use.
#include <algorithm>
#include <compare>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"
#include "moehill/routing/plan.h"

namespace moehill {
namespace {

constexpr int64_t kIntsPerCacheLine = 16;

template <typename T>
size_t bytes_of(const std::vector<T>& values) {
  return values.size() * sizeof(T);
}

void place(RoutingPlan& plan, int64_t assignment, int64_t token, int64_t row) {
  plan.row_token[idx(row)] = static_cast<int32_t>(token);
  plan.row_assignment[idx(row)] = static_cast<int32_t>(assignment);
  plan.assignment_row[idx(assignment)] = static_cast<int32_t>(row);
}

InputError bad_expert(int32_t expert, int64_t token, int num_experts) {
  return input_error("routing", fmt::format("expert {} for token {}", expert, token),
                     fmt::format("0 to {}", num_experts - 1), "check the expert ids");
}

}  // namespace

PlanBuilder::PlanBuilder(const PlanSpec& spec) : spec_(spec), max_tokens_(spec.num_tokens) {
  MOEHILL_CHECK(spec.num_tokens >= 0 && spec.num_experts >= 1 && spec.topk >= 1 &&
                    spec.topk <= spec.num_experts && spec.num_threads >= 1,
                "plan of {} tokens, {} experts, top {}, {} threads", spec.num_tokens, spec.num_experts,
                spec.topk, spec.num_threads);
  MOEHILL_CHECK(
      0 <= spec.expert_begin && spec.expert_begin <= spec.expert_end && spec.expert_end <= spec.num_experts,
      "experts [{}, {}) of {}", spec.expert_begin, spec.expert_end, spec.num_experts);
  MOEHILL_CHECK(spec.capacity.is_plain(), "a capacity that is CapacityLimiter's");
  constexpr int64_t kMaxInt32 = std::numeric_limits<int32_t>::max();
  MOEHILL_CHECK(spec.num_tokens <= kMaxInt32 / spec.topk, "{} tokens x top {} do not fit int32",
                spec.num_tokens, spec.topk);
  const int64_t num_assignments = spec.num_tokens * spec.topk;
  capacity_rows_ = capacity_rows(spec.capacity, num_assignments, spec.num_experts);
  // max_keys is the largest number of kept assignments of the held experts, and max_others that of all other
  // experts. They size all arrays.
  const int64_t max_keys = std::min(num_assignments, num_held() * capacity_rows_);
  const int64_t max_others = std::min(num_assignments, (spec.num_experts - num_held()) * capacity_rows_);
  if (spec.capacity.policy == CapacityPolicy::pad) {
    max_rows_ = num_held() * capacity_rows_ + (spec.scope == PlanScope::masked ? max_others : 0);
  } else {
    max_rows_ = spec.scope == PlanScope::masked ? std::min(num_assignments, max_keys + max_others) : max_keys;
  }
  MOEHILL_CHECK(max_rows_ <= kMaxInt32, "{} rows do not fit int32", max_rows_);

  rank_stride_ = (spec.num_experts + kIntsPerCacheLine - 1) / kIntsPerCacheLine * kIntsPerCacheLine;
  ranks_.resize(idx(spec_.num_threads * rank_stride_));
  load_.resize(idx(spec.num_experts));
  key_begin_.resize(idx(num_held() + 1));
  parts_.resize(idx(spec_.num_threads));
  if (spec.strategy == PackStrategy::argsort || spec.strategy == PackStrategy::expert_score_sort)
    keys_.resize(idx(max_keys));
  if (spec.strategy == PackStrategy::tuple_sort) tuple_keys_.resize(idx(max_keys));
}

RoutingPlan PlanBuilder::make_plan() const {
  RoutingPlan plan;
  plan.num_tokens = spec_.num_tokens;
  plan.num_experts = spec_.num_experts;
  plan.topk = spec_.topk;
  plan.expert_begin = spec_.expert_begin;
  plan.expert_end = spec_.expert_end;
  plan.group_offset.assign(idx(num_held() + (spec_.scope == PlanScope::masked ? 2 : 1)), 0);
  plan.row_token.reserve(idx(max_rows_));
  plan.row_assignment.reserve(idx(max_rows_));
  plan.assignment_row.assign(idx(spec_.num_tokens * spec_.topk), -1);
  return plan;
}

size_t PlanBuilder::workspace_bytes() const {
  return bytes_of(ranks_) + bytes_of(load_) + bytes_of(key_begin_) + bytes_of(parts_) + bytes_of(keys_) +
         bytes_of(tuple_keys_);
}

void PlanBuilder::build(const Routing& routing, ThreadTeam& team, RoutingPlan& plan) {
  MOEHILL_CHECK(routing.num_tokens <= max_tokens_ && routing.num_experts == spec_.num_experts &&
                    routing.topk == spec_.topk,
                "routing [{}, {}] over {} experts, builder [{}, {}] over {}", routing.num_tokens,
                routing.topk, routing.num_experts, max_tokens_, spec_.topk, spec_.num_experts);
  take_num_tokens(routing.num_tokens, plan);
  MOEHILL_CHECK(
      routing.expert.size() == plan.assignment_row.size() && routing.weight.size() == routing.expert.size(),
      "{} expert ids and {} gate values for {} assignments", routing.expert.size(), routing.weight.size(),
      plan.assignment_row.size());
  MOEHILL_CHECK(plan.expert_begin == spec_.expert_begin && plan.expert_end == spec_.expert_end,
                "the plan is not one of this builder's");
  // The builder first counts, then makes prefix sums. After that each assignment's row follows from its
  // expert and rank.
  count(routing, team);
  lay_out(plan);
  if (spec_.strategy == PackStrategy::counting_sort) {
    scatter(routing, team, plan);
  } else {
    gather_keys(routing, team, plan);
    sort_keys(routing);
    place_keys(team, plan);
  }
  if (spec_.capacity.policy == CapacityPolicy::pad) mark_padding(team, plan);
}

// A smaller batch than the largest is allowed; its capacity follows from its own number of tokens.
void PlanBuilder::take_num_tokens(int64_t num_tokens, RoutingPlan& plan) {
  plan.num_tokens = num_tokens;
  plan.assignment_row.resize(idx(num_tokens * spec_.topk));
  if (num_tokens == spec_.num_tokens) return;
  spec_.num_tokens = num_tokens;
  capacity_rows_ = capacity_rows(spec_.capacity, num_tokens * spec_.topk, spec_.num_experts);
}

template <typename Body>
void PlanBuilder::for_shares(ThreadTeam& team, int64_t n, const Body& body) const {
  if (spec_.num_tokens * spec_.topk > kFewAssignments) return team.parallel_for(n, body);
  if (n > 0) body(int64_t{0}, n);
}

// Counts the assignments of each part for each expert, in parallel over the parts.
void PlanBuilder::count(const Routing& routing, ThreadTeam& team) {
  for_shares(team, spec_.num_threads, [&](int64_t part_begin, int64_t part_end) {
    for (int64_t part = part_begin; part < part_end; ++part) {
      const Range tokens = share(spec_.num_tokens, part, spec_.num_threads);
      int32_t* counts = ranks_of(static_cast<int>(part));
      std::fill_n(counts, spec_.num_experts, 0);
      for (int64_t a = tokens.begin * spec_.topk; a < tokens.end * spec_.topk; ++a) {
        const int32_t expert = routing.expert[idx(a)];
        if (expert == kNoExpert) continue;
        if (expert < 0 || expert >= spec_.num_experts)
          throw bad_expert(expert, a / spec_.topk, spec_.num_experts);
        ++counts[expert];
      }
    }
  });
}

// Makes prefix sums over (expert, part): counts become ranks, and groups get their rows. It runs on one
// thread, since it is only parts * E additions.
void PlanBuilder::lay_out(RoutingPlan& plan) {
  std::fill(load_.begin(), load_.end(), 0);
  int64_t num_kept = 0, num_others = 0;
  for (int part = 0; part < spec_.num_threads; ++part) {
    parts_[idx(part)] = {num_kept, num_others};
    int32_t* ranks = ranks_of(part);
    for (int e = 0; e < spec_.num_experts; ++e) {
      const int64_t begin = load_[idx(e)], end = begin + ranks[e];
      (holds(e) ? num_kept : num_others) += std::min(end, capacity_rows_) - std::min(begin, capacity_rows_);
      ranks[e] = static_cast<int32_t>(begin);
      load_[idx(e)] = end;
    }
  }
  plan.num_dropped = 0;
  plan.group_offset[0] = key_begin_[0] = 0;
  for (int g = 0; g < num_held(); ++g) {
    const int64_t load = load_[idx(spec_.expert_begin + g)], kept = std::min(load, capacity_rows_);
    plan.num_dropped += load - kept;
    key_begin_[idx(g + 1)] = key_begin_[idx(g)] + kept;
    plan.group_offset[idx(g + 1)] =
        plan.group_offset[idx(g)] + (spec_.capacity.policy == CapacityPolicy::pad ? capacity_rows_ : kept);
  }
  if (spec_.scope == PlanScope::masked)
    plan.group_offset.back() = plan.group_offset[idx(num_held())] + num_others;
  plan.row_token.resize(idx(plan.num_rows()));
  plan.row_assignment.resize(idx(plan.num_rows()));
}

// Visits the assignments of a part in order. It calls on_kept(assignment, token, expert, rank within its
// expert) for each kept assignment of a held expert. With PlanScope::masked it places the assignments of
// other experts. All others are marked as having no row.
template <typename OnKept>
void PlanBuilder::walk(const Routing& routing, int part, RoutingPlan& plan, const OnKept& on_kept) {
  const Range tokens = share(spec_.num_tokens, part, spec_.num_threads);
  int32_t* ranks = ranks_of(part);
  int64_t other_row = plan.group_offset[idx(num_held())] + parts_[idx(part)].other_begin;
  int64_t a = tokens.begin * spec_.topk;
  for (int64_t t = tokens.begin; t < tokens.end; ++t) {
    for (int j = 0; j < spec_.topk; ++j, ++a) {
      const int32_t expert = routing.expert[idx(a)];
      const bool is_somebodys = expert != kNoExpert;
      const int32_t rank = is_somebodys ? ranks[expert]++ : 0;
      const bool is_kept = is_somebodys && rank < capacity_rows_;
      if (is_kept && holds(expert)) {
        on_kept(a, t, expert, rank);
      } else if (is_kept && spec_.scope == PlanScope::masked) {
        place(plan, a, t, other_row++);
      } else {
        plan.assignment_row[idx(a)] = -1;
      }
    }
  }
}

// counting_sort: an assignment's row is its group's offset plus its rank, so nothing has to be sorted.
void PlanBuilder::scatter(const Routing& routing, ThreadTeam& team, RoutingPlan& plan) {
  for_shares(team, spec_.num_threads, [&](int64_t part_begin, int64_t part_end) {
    for (int64_t part = part_begin; part < part_end; ++part) {
      walk(routing, static_cast<int>(part), plan, [&](int64_t a, int64_t t, int32_t expert, int32_t rank) {
        place(plan, a, t, plan.group_offset[idx(expert - spec_.expert_begin)] + rank);
      });
    }
  });
}

void PlanBuilder::gather_keys(const Routing& routing, ThreadTeam& team, RoutingPlan& plan) {
  for_shares(team, spec_.num_threads, [&](int64_t part_begin, int64_t part_end) {
    for (int64_t part = part_begin; part < part_end; ++part) {
      int64_t next = parts_[idx(part)].kept_begin;
      walk(routing, static_cast<int>(part), plan, [&](int64_t a, int64_t, int32_t expert, int32_t) {
        const int32_t assignment = static_cast<int32_t>(a);
        if (spec_.strategy == PackStrategy::tuple_sort) {
          tuple_keys_[idx(next++)] = {expert, assignment};
        } else {
          keys_[idx(next++)] = assignment;
        }
      });
    }
  });
}

void PlanBuilder::sort_keys(const Routing& routing) {
  const int64_t num_keys = key_begin_.back();
  const auto expert_of = [&](int32_t a) { return routing.expert[idx(a)]; };
  if (spec_.strategy == PackStrategy::tuple_sort) {
    std::sort(tuple_keys_.begin(), tuple_keys_.begin() + num_keys);
  } else if (spec_.strategy == PackStrategy::argsort) {
    std::stable_sort(keys_.begin(), keys_.begin() + num_keys,
                     [&](int32_t a, int32_t b) { return expert_of(a) < expert_of(b); });
  } else {
    // strong_order() is a total order even if a gate value is NaN; std::sort needs one.
    std::sort(keys_.begin(), keys_.begin() + num_keys, [&](int32_t a, int32_t b) {
      if (expert_of(a) != expert_of(b)) return expert_of(a) < expert_of(b);
      const auto order = std::strong_order(routing.weight[idx(a)], routing.weight[idx(b)]);
      return order != 0 ? order > 0 : a < b;
    });
  }
}

// Sorted keys follow one another without gaps, while the rows of a group begin at its offset, which may leave
// room for padding.
void PlanBuilder::place_keys(ThreadTeam& team, RoutingPlan& plan) const {
  for_shares(team, key_begin_.back(), [&](int64_t begin, int64_t end) {
    for (int g = 0; g < num_held(); ++g) {
      const int64_t first = key_begin_[idx(g)];
      const int64_t last = std::min(end, key_begin_[idx(g + 1)]);
      for (int64_t i = std::max(begin, first); i < last; ++i) {
        const int32_t a =
            spec_.strategy == PackStrategy::tuple_sort ? tuple_keys_[idx(i)].second : keys_[idx(i)];
        place(plan, a, a / spec_.topk, plan.group_offset[idx(g)] + i - first);
      }
    }
  });
}

void PlanBuilder::mark_padding(ThreadTeam& team, RoutingPlan& plan) const {
  for_shares(team, num_held(), [&](int64_t begin, int64_t end) {
    for (int64_t g = begin; g < end; ++g) {
      const int64_t num_kept = key_begin_[idx(g + 1)] - key_begin_[idx(g)];
      for (int64_t row = plan.group_offset[idx(g)] + num_kept; row < plan.group_offset[idx(g + 1)]; ++row) {
        plan.row_token[idx(row)] = plan.row_assignment[idx(row)] = -1;
      }
    }
  });
}

}  // namespace moehill
