// The router's decision for many tokens, block by block.
#include "moehill/routing/route_tokens.h"

#include <algorithm>

#include "moehill/base/overlap.h"
#include "moehill/routing/largest_normals.h"
#include "moehill/routing/topk.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

constexpr int64_t kBlockTokens = 1024;

// Appends the rows of those tokens of the block that are kept.
void keep_rows(const std::vector<float>& rows, Range block, Range kept, std::vector<float>& logits) {
  const int64_t cols = std::ssize(rows) / block.size();
  const Range own = overlap(block, kept);
  logits.insert(logits.end(), rows.begin() + (own.begin - block.begin) * cols,
                rows.begin() + (own.end - block.begin) * cols);
}

// Logits of these tokens as LogitStream has them, where only the largest are looked at.
void fill_largest(LargestNormals& largest, uint32_t seed, Range tokens, std::vector<float>& logits) {
  const size_t num = static_cast<size_t>(largest.num());
  logits.resize(static_cast<size_t>(tokens.size()) * num);
  for (size_t t = 0; t < static_cast<size_t>(tokens.size()); ++t)
    largest.fill(seed, Stream::kLogits, (static_cast<uint64_t>(tokens.begin) + t) * num, &logits[t * num]);
}

}  // namespace

RoutedTokens route_stream(const RouteRequest& r) {
  RoutedTokens routed{unrouted(r.router, r.num_tokens, r.num_logits, r.topk), {}};
  Routing ranked;  // with the spares behind the choices
  if (r.num_spares > 0) ranked = unrouted(r.router, r.num_tokens, r.num_logits, r.topk + r.num_spares);
  LogitStream stream(r.distribution, r.num_logits, r.topk, r.seed);
  ThreadTeam alone(1);
  std::vector<float> rows;
  routed.logits.reserve(static_cast<size_t>(r.kept.size() * r.num_logits));
  for (int64_t t = 0; t < r.num_tokens; t += kBlockTokens) {
    const Range block{t, std::min(r.num_tokens, t + kBlockTokens)};
    stream.next(block.size(), rows);
    // The rows of the tokens before would lie before these: nobody reads them.
    const auto* logits = reinterpret_cast<const float*>(
        reinterpret_cast<uintptr_t>(rows.data()) - sizeof(float) * static_cast<uintptr_t>(t * r.num_logits));
    route(r.router, logits, block, alone, routed.routing);
    if (r.num_spares > 0) route(r.router, logits, block, alone, ranked);
    keep_rows(rows, block, r.kept, routed.logits);
  }
  if (r.num_spares > 0) take_spares(ranked, routed.routing);
  return routed;
}

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
    LargestNormals largest(num_experts, topk);
    std::vector<float> logits;
    for (int64_t t = begin; t < end; t += kBlockTokens) {
      const int64_t count = std::min(kBlockTokens, end - t);
      if (options.kind == Distribution::random) {
        fill_largest(largest, seed_of_step(options, seed), {t, t + count}, logits);
      } else {
        stream.next(count, logits);
      }
      const Routing block = route_topk(logits, count, num_experts, topk);
      std::copy(block.expert.begin(), block.expert.end(), routing.expert.begin() + t * topk);
      std::copy(block.weight.begin(), block.weight.end(), routing.weight.begin() + t * topk);
    }
  });
  leave_out_tokens(options, routing);
  return routing;
}

}  // namespace moehill
