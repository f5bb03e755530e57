#include "moehill/moe/zero_experts.h"

#include "moehill/base/partition.h"
#include "moehill/kernels/rows.h"

namespace moehill {

ZeroExperts::ZeroExperts(int64_t max_tokens)
    : row_(idx(max_tokens)), gate_(row_.size()), scaled_(row_.size()), dp_(row_.size()) {}

void ZeroExperts::take(const Routing& routing, Range tokens, ThreadTeam& team) {
  routing_ = &routing;
  tokens_ = tokens;
  MOEHILL_CHECK(idx(tokens.size()) <= row_.size(), "{} tokens", tokens.size());
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t i = begin; i < end; ++i) {
      float sum = 0;
      bool any = false;
      const int64_t first = (tokens.begin + i) * routing.topk;
      for (int64_t a = first; a < first + routing.topk && !routing.zero.empty(); ++a) {
        if (routing.zero[idx(a)] < 0) continue;
        sum += routing.weight[idx(a)];
        any = true;
      }
      gate_[idx(i)] = sum;
      row_[idx(i)] = any ? static_cast<int32_t>(i) : -1;
    }
  });
}

void ZeroExperts::add(ThreadTeam& team, const MatView& rows, float scale, const MatView& base,
                      const MatView& out) {
  for (int64_t i = 0; i < tokens_.size(); ++i) scaled_[idx(i)] = scale * gate_[idx(i)];
  combine_rows(team, {rows, row_.data(), scaled_.data(), 1, base}, out);
}

void ZeroExperts::make_dp(ThreadTeam& team, const MatView& x, const MatView& dy, float scale, float* dp) {
  row_dots(team, {x, dy, nullptr, row_.data(), scale}, tokens_.size(), dp_.data());
  const int64_t topk = routing_->topk, first = tokens_.begin * topk;
  team.parallel_for(tokens_.size(), [&](int64_t begin, int64_t end) {
    for (int64_t a = begin * topk; a < end * topk && !routing_->zero.empty(); ++a) {
      if (routing_->zero[idx(first + a)] >= 0) dp[a] = dp_[idx(a / topk)];
    }
  });
}

void ZeroExperts::spoil(const MemoryVisitor& visit) {
  visit_vector(gate_, visit);
  visit_vector(scaled_, visit);
  visit_vector(dp_, visit);
  visit_vector(row_, visit);
}

}  // namespace moehill
