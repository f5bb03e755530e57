// The router's decision for many tokens, block by block.
#include "moehill/routing/route_tokens.h"

#include <algorithm>
#include <cstddef>
#include <type_traits>

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

// The logits of tokens, block by block.
class BlockLogits {
 public:
  // is_seen: all of them are looked at, by others than the router.
  BlockLogits(const RouteRequest& r, int64_t first_token, bool is_seen)
      : stream_(r.distribution, r.num_logits, r.topk, r.seed), largest_(r.num_logits, r.topk) {
    // The plain rule looks at the largest logits alone.
    only_largest_ = !is_seen && r.distribution.kind == Distribution::random && r.num_spares == 0 &&
                    r.router.rule == RouterRule{};
    seed_ = seed_of_step(r.distribution, r.seed);
    stream_.skip(first_token);
  }
  void next(Range tokens, std::vector<float>& rows) {
    if (!only_largest_) return stream_.next(tokens.size(), rows);
    const size_t num = static_cast<size_t>(largest_.num());
    rows.resize(static_cast<size_t>(tokens.size()) * num);
    for (size_t t = 0; t < static_cast<size_t>(tokens.size()); ++t)
      largest_.fill(seed_, Stream::kLogits, (static_cast<uint64_t>(tokens.begin) + t) * num, &rows[t * num]);
  }

 private:
  LogitStream stream_;
  LargestNormals largest_;
  bool only_largest_ = false;
  uint32_t seed_ = 0;
};

// Routes `tokens`, block by block; each block's logits go to `see` too, where there is one.
template <typename See>
void route_blocks(const RouteRequest& r, Range tokens, Routing& routing, const See& see) {
  constexpr bool kIsSeen = !std::is_same_v<See, std::nullptr_t>;
  BlockLogits source(r, tokens.begin, kIsSeen);
  ThreadTeam alone(1);
  std::vector<float> rows;
  for (int64_t t = tokens.begin; t < tokens.end; t += kBlockTokens) {
    const Range block{t, std::min(tokens.end, t + kBlockTokens)};
    source.next(block, rows);
    // The rows of the tokens before would lie before these: nobody reads them.
    const auto* logits = reinterpret_cast<const float*>(
        reinterpret_cast<uintptr_t>(rows.data()) - sizeof(float) * static_cast<uintptr_t>(t * r.num_logits));
    route(r.router, logits, block, alone, routing);
    if constexpr (kIsSeen) see(block, logits, rows);
  }
}

}  // namespace

RoutedTokens route_stream(const RouteRequest& r) {
  RoutedTokens routed{unrouted(r.router, r.num_tokens, r.num_logits, r.topk), {}};
  Routing ranked;  // with the spares behind the choices
  if (r.num_spares > 0) ranked = unrouted(r.router, r.num_tokens, r.num_logits, r.topk + r.num_spares);
  ThreadTeam alone(1);
  routed.logits.reserve(static_cast<size_t>(r.kept.size() * r.num_logits));
  route_blocks(r, {0, r.num_tokens}, routed.routing,
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
  team.parallel_for(r.num_tokens, [&](int64_t begin, int64_t end) {
    route_blocks(r, {begin, end}, routing, nullptr);
  });
  leave_out_tokens(r.distribution, routing);
  return routing;
}

}  // namespace moehill
