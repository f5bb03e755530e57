// Implements capacity_limiter.h. apply_capacity() sorts all assignments and decides one after the other,
// which is easy to verify. CapacityLimiter counts first and sorts only where more assignments come than fit.
#include "moehill/routing/capacity_limiter.h"

#include <algorithm>
#include <compare>
#include <limits>
#include <numeric>

#include "moehill/base/error.h"
#include "moehill/base/partition.h"

namespace moehill {
namespace {

// Returns true if assignment a is served before b. strong_order() is a total order even if a gate value is
// NaN, which std::sort needs.
bool precedes(CapacityOrder order, const float* weight, int64_t a, int64_t b) {
  if (order == CapacityOrder::position) return a < b;
  const auto by_gate = std::strong_order(weight[a], weight[b]);
  return by_gate != 0 ? by_gate > 0 : a < b;
}

bool chooses(const Routing& routing, int64_t token, int32_t expert) {
  const auto first = routing.expert.begin() + token * routing.topk;
  return std::find(first, first + routing.topk, expert) != first + routing.topk;
}

// Makes the decisions of apply_capacity() for the tokens of one source.
void apply_to_source(const Routing& routing, const Capacity& capacity, int64_t rows, Range tokens,
                     Routing& limited) {
  std::vector<int64_t> order(idx(tokens.size() * routing.topk)), overflow;
  std::iota(order.begin(), order.end(), tokens.begin * routing.topk);
  std::sort(order.begin(), order.end(),
            [&](int64_t a, int64_t b) { return precedes(capacity.order, routing.weight.data(), a, b); });
  std::vector<int64_t> left(idx(capacity.num_pools(routing.num_experts)));
  for (int p = 0; p < capacity.num_pools(routing.num_experts); ++p)
    left[idx(p)] = pool_rows(capacity, rows, p, routing.num_experts);
  const auto takes = [&](int32_t expert) { return left[idx(expert / capacity.pool)]-- > 0; };
  for (const int64_t a : order) {
    if (routing.expert[idx(a)] == kNoExpert || takes(routing.expert[idx(a)])) continue;
    limited.expert[idx(a)] = kNoExpert;
    overflow.push_back(a);
  }
  // Spills come after all choices have been served.
  for (const int64_t a : overflow) {
    for (int s = 0; s < capacity.spares; ++s) {
      const int64_t t = a / routing.topk;
      const int32_t expert = routing.spare[idx(t * routing.num_spares() + s)];
      if (chooses(limited, t, expert) || !takes(expert)) continue;
      limited.expert[idx(a)] = expert;
      break;
    }
  }
}

}  // namespace

Routing apply_capacity(const Routing& routing, const Capacity& capacity) {
  Routing limited = routing;
  if (capacity.policy == CapacityPolicy::none) return limited;
  MOEHILL_CHECK(routing.num_spares() >= capacity.spares, "{} spares, {} asked for", routing.num_spares(),
                capacity.spares);
  const int64_t rows = capacity_rows(capacity, routing.num_tokens * routing.topk, routing.num_experts);
  for (int s = 0; s < capacity.sources; ++s)
    apply_to_source(routing, capacity, rows, share(routing.num_tokens, s, capacity.sources), limited);
  return limited;
}

CapacityLimiter::CapacityLimiter(const Capacity& capacity, int64_t num_tokens, int num_experts, int topk)
    : capacity_(capacity),
      limited_{num_tokens, num_experts, topk, {}, {}},
      used_(idx(capacity.num_pools(num_experts))),
      begin_(used_.size() + 1) {
  limited_.expert.resize(idx(num_tokens * topk));
  limited_.weight.resize(limited_.expert.size());
  overflow_.reserve(limited_.expert.size());
  if (capacity.order == CapacityOrder::gate) sorted_.resize(limited_.expert.size());
}

const Routing& CapacityLimiter::apply(const Routing& routing, Range tokens, int64_t expert_rows) {
  const int64_t num = tokens.size() * routing.topk, begin = tokens.begin * routing.topk;
  limited_.num_tokens = tokens.size();
  limited_.expert.resize(idx(num));
  limited_.weight.resize(idx(num));
  std::copy_n(routing.expert.begin() + begin, num, limited_.expert.begin());
  std::copy_n(routing.weight.begin() + begin, num, limited_.weight.begin());
  for (int s = 0; s < capacity_.sources; ++s)
    limit(routing, share(tokens.size(), s, capacity_.sources), tokens.begin, expert_rows);
  return limited_;
}

void CapacityLimiter::spoil() {
  std::fill(limited_.expert.begin(), limited_.expert.end(), kNoExpert);
  std::fill(limited_.weight.begin(), limited_.weight.end(), std::numeric_limits<float>::quiet_NaN());
}

// `tokens` are tokens of limited_, whose first token is first_token of the routing.
void CapacityLimiter::limit(const Routing& routing, Range tokens, int64_t first_token, int64_t expert_rows) {
  const int64_t first = tokens.begin * limited_.topk, num = tokens.size() * limited_.topk;
  std::fill(used_.begin(), used_.end(), 0);
  overflow_.clear();
  for (int64_t a = first; a < first + num; ++a) {
    int32_t& expert = limited_.expert[idx(a)];
    if (expert == kNoExpert) continue;
    if (expert < 0 || expert >= limited_.num_experts)
      throw input_error("routing",
                        fmt::format("expert {} for token {}", expert, first_token + a / limited_.topk),
                        fmt::format("0 to {}", limited_.num_experts - 1), "check the expert ids");
    const bool fits = used(expert)++ < limit_of(expert / capacity_.pool, expert_rows);
    if (!fits && capacity_.order == CapacityOrder::position) overflow_.push_back(static_cast<int32_t>(a));
  }
  if (capacity_.order == CapacityOrder::gate) choose_by_gate(first, num, expert_rows);
  for (const int32_t a : overflow_) limited_.expert[idx(a)] = kNoExpert;
  if (capacity_.spares > 0) spill(routing, first_token, expert_rows);
}

// In each pool that has more assignments than rows, lets those with the smallest gate values overflow.
void CapacityLimiter::choose_by_gate(int64_t first, int64_t num, int64_t expert_rows) {
  for (size_t p = 0; p < used_.size(); ++p) begin_[p + 1] = begin_[p] + used_[p];
  // Sorts the assignments by pool (a counting sort), then parts each pool at its number of rows. The counts
  // in used_ are in begin_ now, so used_ holds the next free place of each pool until it gets the counts
  // back.
  std::vector<int64_t>& next = used_;
  std::copy_n(begin_.begin(), used_.size(), next.begin());
  for (int64_t a = first; a < first + num; ++a) {
    const int32_t expert = limited_.expert[idx(a)];
    if (expert != kNoExpert) sorted_[idx(used(expert)++)] = static_cast<int32_t>(a);
  }
  const auto first_of = [&](int64_t i) { return sorted_.begin() + i; };
  const auto before = [&](int32_t a, int32_t b) {
    return precedes(CapacityOrder::gate, limited_.weight.data(), a, b);
  };
  for (size_t p = 0; p < used_.size(); ++p) {
    const int64_t num_here = begin_[p + 1] - begin_[p];
    const int64_t kept = std::min(num_here, limit_of(static_cast<int>(p), expert_rows));
    used_[p] = num_here;
    if (kept == num_here) continue;
    std::nth_element(first_of(begin_[p]), first_of(begin_[p] + kept), first_of(begin_[p + 1]), before);
    overflow_.insert(overflow_.end(), first_of(begin_[p] + kept), first_of(begin_[p + 1]));
  }
  if (capacity_.spares > 0) std::sort(overflow_.begin(), overflow_.end(), before);
}

// Tries the next choices of each overflowing assignment, in order.
void CapacityLimiter::spill(const Routing& routing, int64_t first_token, int64_t expert_rows) {
  for (const int32_t a : overflow_) {
    const int64_t t = a / limited_.topk;
    const int32_t* spare = routing.spare.data() + (first_token + t) * routing.num_spares();
    for (int s = 0; s < capacity_.spares; ++s) {
      if (chooses(limited_, t, spare[s])) continue;
      if (used(spare[s]) >= limit_of(spare[s] / capacity_.pool, expert_rows)) continue;
      ++used(spare[s]);
      limited_.expert[idx(a)] = spare[s];
      break;
    }
  }
}

}  // namespace moehill
