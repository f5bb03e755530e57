// The router's decision for many tokens, block by block.
#include "moehill/routing/route_tokens.h"

#include <algorithm>

#include "moehill/routing/topk.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

constexpr int64_t kBlockTokens = 1024;

}  // namespace

Routing route_tokens(const DistributionOptions& options, int64_t num_tokens, int num_experts, int topk,
                     uint32_t seed, ThreadTeam& team) {
  if (options.kind == Distribution::trace) return read_trace(options.trace, num_tokens, num_experts, topk);
  refuse_impossible(options, num_experts, topk);
  Routing routing{num_tokens, num_experts, topk, {}, {}};
  routing.expert.resize(static_cast<size_t>(num_tokens * topk));
  routing.weight.resize(routing.expert.size());
  team.parallel_for(num_tokens, [&](int64_t begin, int64_t end) {
    LogitStream stream(options, num_experts, topk, seed);
    stream.skip(begin);
    std::vector<float> logits;
    for (int64_t t = begin; t < end; t += kBlockTokens) {
      const int64_t count = std::min(kBlockTokens, end - t);
      stream.next(count, logits);
      const Routing block = route_topk(logits, count, num_experts, topk);
      std::copy(block.expert.begin(), block.expert.end(), routing.expert.begin() + t * topk);
      std::copy(block.weight.begin(), block.weight.end(), routing.weight.begin() + t * topk);
    }
  });
  leave_out_tokens(options, routing);
  return routing;
}

}  // namespace moehill
