// This header applies a capacity to a routing: it decides which assignments are kept, and where the others
// go. The rule is in capacity.h. A step uses CapacityLimiter; apply_capacity() is the plain version with
// which tests and the check compare it.
//
//   CapacityLimiter limiter(capacity, num_tokens, num_experts, topk);                   // once
//   const Routing& limited = limiter.apply(routing, {0, num_tokens}, expert_rows);      // in each step
#pragma once

#include <vector>

#include "moehill/base/partition.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Returns the routing with kNoExpert for each dropped assignment, and with its next choice for each
// assignment that spills, whose gate value stays. It sorts, and decides one assignment after the other.
Routing apply_capacity(const Routing& routing, const Capacity& capacity);

// CapacityLimiter limits a routing in a step: it counts first, and sorts only the assignments that may
// overflow. It allocates nothing after construction.
class CapacityLimiter {
 public:
  CapacityLimiter(const Capacity& capacity, int64_t num_tokens, int num_experts, int topk);

  // Decides for `tokens` of a routing, which are cut into the capacity's sources. The result has only these
  // tokens. expert_rows is C of each source. The reference stays valid until the next call.
  const Routing& apply(const Routing& routing, Range tokens, int64_t expert_rows);
  const Routing& routing() const { return limited_; }
  // Drops all assignments and sets gate values to NaN, so that a step that forgets apply() shows.
  void spoil();

 private:
  void limit(const Routing& routing, Range tokens, int64_t first_token, int64_t expert_rows);
  void choose_by_gate(int64_t first, int64_t num, int64_t expert_rows);
  void spill(const Routing& routing, int64_t first_token, int64_t expert_rows);
  int64_t& used(int32_t expert) { return used_[static_cast<size_t>(expert / capacity_.pool)]; }
  int64_t limit_of(int pool, int64_t expert_rows) const {
    return pool_rows(capacity_, expert_rows, pool, limited_.num_experts);
  }

  Capacity capacity_;
  Routing limited_;
  // [pools] rows taken; [pools + 1] first position of each pool in sorted_, of which the first one stays 0.
  std::vector<int64_t> used_, begin_;
  std::vector<int32_t> sorted_;    // order by gate: assignments of limited_, sorted by pool
  std::vector<int32_t> overflow_;  // assignments of limited_
};

}  // namespace moehill
