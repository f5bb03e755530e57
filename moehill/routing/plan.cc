// Facts about a routing and a plan that need no builder: capacity, the kept assignments, the hash.
#include "moehill/routing/plan.h"

#include <cmath>
#include <limits>
#include <type_traits>

#include "moehill/base/error.h"
#include "moehill/base/hash.h"

namespace moehill {
namespace {

// Hashes the bytes of integers, low byte first on any machine.
class PlanHash {
 public:
  template <typename T>
  void add(T value) {
    uint64_t bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = 0; i < sizeof(T); ++i, bits >>= 8) hash_ = fnv1a(hash_, bits & 0xff);
  }
  // The length goes in too, so that no element can pass from one array to the next unnoticed.
  template <typename T>
  void add_array(const std::vector<T>& values) {
    add(static_cast<int64_t>(values.size()));
    for (const T value : values) add(value);
  }
  uint64_t hash() const { return hash_; }

 private:
  uint64_t hash_ = kFnvStart;
};

}  // namespace

int64_t capacity_rows(const Capacity& capacity, int64_t num_assignments, int num_experts) {
  if (capacity.policy == CapacityPolicy::none) return num_assignments;
  if (capacity.rows > 0) return capacity.rows;
  const double rows = std::ceil(capacity.factor * static_cast<double>(num_assignments) / num_experts);
  if (!(capacity.factor > 0) || !(rows <= std::numeric_limits<int32_t>::max())) {
    throw input_error("--capacity-factor", fmt::format("{}", capacity.factor),
                      "above 0, with fewer than 2^31 rows per expert", "try 1.25");
  }
  return static_cast<int64_t>(rows);
}

std::vector<int32_t> kept_assignments(const Routing& routing, const Capacity& capacity) {
  const int64_t limit =
      capacity_rows(capacity, static_cast<int64_t>(routing.expert.size()), routing.num_experts);
  std::vector<int64_t> count(static_cast<size_t>(routing.num_experts), 0);
  std::vector<int32_t> kept(routing.expert.size());
  for (size_t a = 0; a < kept.size(); ++a) {
    const int32_t expert = routing.expert[a];
    kept[a] = expert != kNoExpert && count[static_cast<size_t>(expert)]++ < limit;
  }
  return kept;
}

uint64_t plan_hash(const RoutingPlan& plan) {
  PlanHash fnv;
  fnv.add(plan.num_tokens);
  for (const int value : {plan.num_experts, plan.topk, plan.expert_begin, plan.expert_end}) fnv.add(value);
  fnv.add_array(plan.group_offset);
  fnv.add_array(plan.row_token);
  fnv.add_array(plan.row_assignment);
  fnv.add_array(plan.assignment_row);
  fnv.add(plan.num_dropped);
  return fnv.hash();
}

}  // namespace moehill
