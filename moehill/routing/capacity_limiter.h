// CapacityLimiter: a routing under a capacity, as a step makes it; apply_capacity() is what it is held to.
#pragma once

#include <vector>

#include "moehill/base/partition.h"
#include "moehill/routing/plan.h"

namespace moehill {

// The routing with kNoExpert for what is dropped and the next choice for what spills, which keeps its gate
// value. By sorting, one assignment after the other.
Routing apply_capacity(const Routing& routing, const Capacity& capacity);

// [T * k] 1 for an assignment that is computed, 0 for one that is dropped or nobody's.
std::vector<int32_t> kept_assignments(const Routing& routing, const Capacity& capacity);

// Limits a routing in a step: it counts first, and puts in order what overflows and nothing else. Allocates
// nothing after construction.
class CapacityLimiter {
 public:
  CapacityLimiter(const Capacity& capacity, int64_t num_tokens, int num_experts, int topk);

  // Decides of `tokens` of a routing, which are cut into the capacity's sources; the result has these tokens
  // alone. expert_rows: C of each source.
  const Routing& apply(const Routing& routing, Range tokens, int64_t expert_rows);
  const Routing& routing() const { return limited_; }
  void spoil();  // everything is dropped, and gate values are NaN

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
  std::vector<int64_t> used_, begin_;  // [pools] rows taken; [pools + 1] in sorted_
  std::vector<int32_t> sorted_;        // gate: assignments of limited_ by pool
  std::vector<int32_t> overflow_;      // assignments of limited_
};

}  // namespace moehill
