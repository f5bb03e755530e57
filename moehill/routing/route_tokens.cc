// Routes many tokens block by block, so that their logits are never in memory at once. The default rule on
// random logits needs only the largest logits of a token, which are much faster to make.
#include "moehill/routing/route_tokens.h"

#include <algorithm>

#include "moehill/base/overlap.h"
#include "moehill/routing/largest_normals.h"
#include "moehill/routing/topk.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

constexpr int64_t kBlockTokens = 1024;

// Appends the rows of those tokens of the block that are in `kept`.
void keep_rows(const std::vector<float>& rows, Range block, Range kept, std::vector<float>& logits) {
  const int64_t cols = std::ssize(rows) / block.size();
  const Range own = overlap(block, kept);
  logits.insert(logits.end(), rows.begin() + (own.begin - block.begin) * cols,
                rows.begin() + (own.end - block.begin) * cols);
}

// Makes the logits of these tokens as LogitStream does, but only the largest of each token, because nobody
// looks at the others.
void fill_largest(LargestNormals& largest, uint32_t seed, Range tokens, std::vector<float>& logits) {
  const size_t num = static_cast<size_t>(largest.num());
  logits.resize(static_cast<size_t>(tokens.size()) * num);
  for (size_t t = 0; t < static_cast<size_t>(tokens.size()); ++t)
    largest.fill(seed, Stream::kLogits, (static_cast<uint64_t>(tokens.begin) + t) * num, &logits[t * num]);
}

// Routes `tokens` block by block and hands each block's logits to `see`. only_largest: the small logits are
// minus infinity.
template <typename See>
void route_blocks(const RouteRequest& r, Range tokens, bool only_largest, Routing& routing, const See& see) {
  LogitStream stream(r.distribution, r.num_logits, r.topk, r.seed);
  stream.skip(tokens.begin);
  LargestNormals largest(r.num_logits, r.topk);
  ThreadTeam alone(1);
  std::vector<float> rows;
  for (int64_t t = tokens.begin; t < tokens.end; t += kBlockTokens) {
    const Range block{t, std::min(tokens.end, t + kBlockTokens)};
    if (only_largest) {
      fill_largest(largest, seed_of_step(r.distribution, r.seed), block, rows);
    } else {
      stream.next(block.size(), rows);
    }
    // route() counts rows from token 0, so the pointer is moved back by the tokens before this block. Nobody
    // reads those.
    const auto* logits = reinterpret_cast<const float*>(
        reinterpret_cast<uintptr_t>(rows.data()) - sizeof(float) * static_cast<uintptr_t>(t * r.num_logits));
    route(r.router, logits, block, alone, routing);
    see(block, logits, rows);
  }
}

}  // namespace

RoutedTokens route_stream(const RouteRequest& r) {
  RoutedTokens routed{unrouted(r.router, r.num_tokens, r.num_logits, r.topk), {}};
  Routing ranked;  // with the spares behind the choices
  if (r.num_spares > 0) ranked = unrouted(r.router, r.num_tokens, r.num_logits, r.topk + r.num_spares);
  ThreadTeam alone(1);
  routed.logits.reserve(static_cast<size_t>(r.kept.size() * r.num_logits));
  route_blocks(r, {0, r.num_tokens}, false, routed.routing,
               [&](Range block, const float* logits, const std::vector<float>& rows) {
                 if (r.num_spares > 0) route(r.router, logits, block, alone, ranked);
                 keep_rows(rows, block, r.kept, routed.logits);
               });
  if (r.num_spares > 0) take_spares(ranked, routed.routing);
  return routed;
}

Routing route_tokens(const RouteRequest& r, ThreadTeam& team) {
  if (r.distribution.kind == Distribution::trace)
    return read_trace(r.distribution.trace, r.num_tokens, r.num_logits, r.topk);
  refuse_impossible(r.distribution, r.num_logits, r.topk);
  Routing routing = unrouted(r.router, r.num_tokens, r.num_logits, r.topk);
  const bool only_largest = r.distribution.kind == Distribution::random && r.router.rule == RouterRule{};
  team.parallel_for(r.num_tokens, [&](int64_t begin, int64_t end) {
    route_blocks(r, {begin, end}, only_largest, routing,
                 [](Range, const float*, const std::vector<float>&) {});
  });
  leave_out_tokens(r.distribution, routing);
  return routing;
}

}  // namespace moehill
