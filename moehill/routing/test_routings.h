// This header has routings for tests: odd shapes, skewed loads, and gate values that are not sorted by token.
#pragma once

#include <algorithm>
#include <cmath>
#include <cstdint>
#include <numeric>
#include <string>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"
#include "moehill/routing/capacity_limiter.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Makes a routing from experts given by hand. Gate values are 0 to 6 in a mixed order, so that some are
// equal.
inline Routing routing_of(int num_experts, int topk, std::vector<int32_t> expert) {
  Routing routing{static_cast<int64_t>(expert.size()) / topk, num_experts, topk, std::move(expert), {}};
  for (size_t a = 0; a < routing.expert.size(); ++a) routing.weight.push_back(static_cast<float>(a * 5 % 7));
  return routing;
}

// Makes a routing with topk distinct experts for each token. skew 0: uniform. With a larger skew, low expert
// ids are preferred and high ones stay empty.
inline Routing random_routing(int64_t num_tokens, int num_experts, int topk, double skew, uint32_t seed) {
  std::vector<int32_t> expert;
  uint64_t draw = 0;
  for (int64_t t = 0; t < num_tokens; ++t) {
    std::vector<int32_t> left(static_cast<size_t>(num_experts));
    std::iota(left.begin(), left.end(), 0);
    for (int j = 0; j < topk; ++j) {
      const double u = random_uniform(seed, Stream::kRouter, draw++);
      const auto pick = static_cast<int64_t>(std::pow(u, 1 + skew) * static_cast<double>(left.size()));
      expert.push_back(left[static_cast<size_t>(pick)]);
      left.erase(left.begin() + pick);
    }
  }
  return routing_of(num_experts, topk, std::move(expert));
}

// A trace of 45 tokens with their top 3 of 12 experts. The third choice of every token, the first of every
// third and the second of every fifth token have no expert.
inline constexpr int64_t kNobodys = 45 + 15 + 9;
inline std::string trace_with_nobodys() {
  std::string ids;
  for (int t = 0; t < 45; ++t) {
    const int a = t % 3 == 0 ? -1 : t * 7 % 12, b = t % 5 == 0 ? -1 : (t * 7 + 5) % 12;
    ids += fmt::format("{}[{},{},-1]", t > 0 ? "," : "", a, b);
  }
  return fmt::format("{{\"step\":7,\"layer\":2,\"rank\":0,\"topk\":3,\"top_indices\":[{}]}}\n", ids);
}

// Returns [T * k]: 1 for an assignment that is computed, 0 for an assignment that is dropped or has no
// expert.
inline std::vector<int32_t> kept_assignments(const Routing& routing, const Capacity& capacity) {
  const Routing limited = apply_capacity(routing, capacity);
  std::vector<int32_t> kept(limited.expert.size());
  for (size_t a = 0; a < kept.size(); ++a) kept[a] = limited.expert[a] != kNoExpert;
  return kept;
}

inline RoutingPlan build_plan(const Routing& routing, Range experts, PackStrategy strategy,
                              Capacity capacity = {}, PlanScope scope = PlanScope::local,
                              int num_threads = 1) {
  ThreadTeam team(num_threads);
  PlanBuilder builder({routing.num_tokens, routing.num_experts, routing.topk, static_cast<int>(experts.begin),
                       static_cast<int>(experts.end), strategy, capacity, scope, num_threads});
  RoutingPlan plan = builder.make_plan();
  builder.build(routing, team, plan);
  return plan;
}

}  // namespace moehill
