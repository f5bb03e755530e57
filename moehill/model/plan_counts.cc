// Implementation of model/plan_counts.h: it counts rows by expert and by pair of devices, in one pass over
// the routing.
#include "moehill/model/plan_counts.h"

#include <algorithm>
#include <numeric>
#include <utility>

#include "moehill/base/partition.h"
#include "moehill/routing/capacity_limiter.h"

namespace moehill {
namespace {

// Returns for each of n things the device that has it, in contiguous shares.
std::vector<int32_t> owners(int64_t n, int num_devices) {
  std::vector<int32_t> owner(static_cast<size_t>(n));
  for (int device = 0; device < num_devices; ++device) {
    const Range range = share(n, device, num_devices);
    std::fill(owner.begin() + range.begin, owner.begin() + range.end, device);
  }
  return owner;
}

// Counts rows for the two levels of nodes. The routing is already limited by the capacity.
void count_levels(const Routing& routing, const std::vector<int32_t>& token_owner,
                  const std::vector<int32_t>& expert_owner, const Nodes& nodes, PlanCounts& counts) {
  counts.nodes = nodes;
  const size_t devices = static_cast<size_t>(counts.num_devices),
               num_nodes = static_cast<size_t>(nodes.num()), places = static_cast<size_t>(nodes.most_ranks());
  counts.node_rows.resize(devices * num_nodes);
  counts.inside.resize(devices * places);
  std::vector<int64_t> last_at_device(devices, -1), last_at_node(num_nodes, -1);
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    const int from = token_owner[static_cast<size_t>(t)];
    for (int64_t a = t * routing.topk; a < (t + 1) * routing.topk; ++a) {
      if (routing.expert[static_cast<size_t>(a)] == kNoExpert) continue;
      const int to = expert_owner[static_cast<size_t>(routing.expert[static_cast<size_t>(a)])];
      const size_t node = static_cast<size_t>(nodes.of(to));
      if (std::exchange(last_at_node[node], t) != t)
        ++counts.node_rows[static_cast<size_t>(from) * num_nodes + node];
      const size_t landing = static_cast<size_t>(nodes.landing_rank(from, nodes.of(to)));
      if (std::exchange(last_at_device[static_cast<size_t>(to)], t) != t)
        ++counts.inside[landing * places + static_cast<size_t>(nodes.place(to))];
    }
  }
}

}  // namespace

int64_t PlanCounts::rows_received(int device) const {
  int64_t rows = 0;
  for (int from = 0; from < num_devices; ++from) rows += pair_rows(from, device);
  return rows;
}

int64_t PlanCounts::rows_computed(int device) const {
  const Range own = share(experts, device, num_devices);
  return std::accumulate(kept.begin() + own.begin, kept.begin() + own.end, int64_t{0});
}

PlanCounts count_plan(const Routing& before, const Capacity& capacity, int num_devices, const Nodes& nodes) {
  // A routing may be large, so it is copied only if a capacity changes it.
  const bool limits = capacity.policy != CapacityPolicy::none;
  const Routing limited = limits ? apply_capacity(before, capacity) : Routing{};
  const Routing& routing = limits ? limited : before;
  const size_t experts = static_cast<size_t>(routing.num_experts), devices = static_cast<size_t>(num_devices);
  PlanCounts counts;
  counts.tokens = routing.num_tokens;
  counts.experts = routing.num_experts;
  counts.topk = routing.topk;
  counts.num_devices = num_devices;
  counts.capacity = capacity;
  counts.pads = capacity.policy == CapacityPolicy::pad;
  if (capacity.policy != CapacityPolicy::none)
    counts.capacity_rows = capacity_rows(capacity, routing.num_tokens * routing.topk, routing.num_experts);
  counts.kept.resize(experts);
  counts.local_kept.resize(devices * experts);
  counts.pairs.resize(devices * devices);
  const std::vector<int32_t> token_owner = owners(routing.num_tokens, num_devices);
  const std::vector<int32_t> expert_owner = owners(routing.num_experts, num_devices);
  std::vector<int64_t> last_token(devices, -1);
  // Counts each token's rows. A device gets a token once, however many of its experts the token chose, so
  // last_token notes for each device the last token that was counted there.
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    const size_t from = static_cast<size_t>(token_owner[static_cast<size_t>(t)]);
    for (int64_t a = t * routing.topk; a < (t + 1) * routing.topk; ++a) {
      if (routing.expert[static_cast<size_t>(a)] == kNoExpert) continue;
      const size_t e = static_cast<size_t>(routing.expert[static_cast<size_t>(a)]);
      ++counts.num_kept;
      ++counts.kept[e];
      ++counts.local_kept[from * experts + e];
      const size_t to = static_cast<size_t>(expert_owner[e]);
      if (last_token[to] == t) continue;
      last_token[to] = t;
      ++counts.pairs[from * devices + to];
    }
  }
  if (nodes.most_ranks() > 0) count_levels(routing, token_owner, expert_owner, nodes, counts);
  return counts;
}

}  // namespace moehill
