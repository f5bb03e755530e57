// This file computes the hash of a plan. The hash depends on the values only, not on the machine.
#include "moehill/routing/plan.h"

#include <type_traits>

#include "moehill/base/hash.h"

namespace moehill {
namespace {

// Hashes integers byte by byte, the low byte first.
class PlanHash {
 public:
  template <typename T>
  void add(T value) {
    uint64_t bits = static_cast<std::make_unsigned_t<T>>(value);
    for (size_t i = 0; i < sizeof(T); ++i, bits >>= 8) hash_ = fnv1a(hash_, bits & 0xff);
  }
  // The length is hashed too, so that a plan whose element has moved from one array to the next hashes
  // differently.
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
