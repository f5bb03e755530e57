// The hash of a plan.
#include "moehill/routing/plan.h"

#include <type_traits>

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
