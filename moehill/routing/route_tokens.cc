// Routes many tokens block by block, so that their logits are never in memory at once. The default rule on
// random logits needs only the largest logits of a token, which are much faster to make.
#include "moehill/routing/route_tokens.h"

#include <algorithm>
#include <optional>

#include "moehill/base/overlap.h"
#include "moehill/routing/largest_normals.h"
#include "moehill/routing/trace.h"

namespace moehill {
namespace {

constexpr int64_t kBlockTokens = 1024;
constexpr int64_t kBlocksBetweenProgress = 32;

// Appends the rows of those tokens of the block that are in `kept`.
void keep_rows(const std::vector<float>& rows, Range block, Range kept, std::vector<float>& logits) {
  const int64_t cols = std::ssize(rows) / block.size();
  const Range own = overlap(block, kept);
  logits.insert(logits.end(), rows.begin() + (own.begin - block.begin) * cols,
                rows.begin() + (own.end - block.begin) * cols);
}

// Returns a generator of only those logits that can decide, which are the largest of each group of experts.
// Returns nothing if any logit may count. A group ranks by its best one or two keys, so these must be made.
// Besides, each group makes enough logits that the kept groups together have at least topk of them. A logit
// that is left out is below all of these.
std::optional<LargestNormals> deciding_logits(const RouteRequest& r) {
  const RouterRule& rule = r.router.rule;
  const bool looks_at_all =
      rule.hash_ids > 0 || rule.score == RouterScore::softmax || rule.score == RouterScore::sparsemixer;
  if (r.distribution.kind != Distribution::random || looks_at_all) return std::nullopt;
  const int size = r.num_logits / rule.groups, of_group = rule.groups == 1 ? 1 : rule.best_two ? 2 : 1;
  const int count = std::max(of_group, (r.topk + rule.kept_groups - 1) / rule.kept_groups);
  const double usual = LargestNormals::usual_least(size, count), margin = logit_margin(r.router, usual);
  if (margin > 0 && margin >= usual) return std::nullopt;
  return LargestNormals(size, count, margin);
}

// Makes the largest logits of these tokens, with the values that LogitStream would give them.
void fill_largest(LargestNormals& largest, const RouteRequest& r, Range tokens, std::vector<float>& logits) {
  const uint32_t seed = seed_of_step(r.distribution, r.seed);
  const size_t num = static_cast<size_t>(r.num_logits), size = static_cast<size_t>(largest.num());
  logits.resize(static_cast<size_t>(tokens.size()) * num);
  const uint64_t first = static_cast<uint64_t>(tokens.begin) * num;
  for (size_t i = 0; i < logits.size(); i += size) largest.fill(seed, Stream::kLogits, first + i, &logits[i]);
}

// Routes `tokens` block by block, and passes each block's logits to `see`. If `largest` makes the logits,
// these are only the largest ones.
template <typename See>
void route_blocks(const RouteRequest& r, Range tokens, std::optional<LargestNormals> largest,
                  Routing& routing, const See& see) {
  LogitStream stream(r.distribution, r.num_logits, r.topk, r.seed, r.router.rule.zero_experts);
  stream.skip(tokens.begin);
  ThreadTeam alone(1);
  std::vector<float> rows;
  for (int64_t t = tokens.begin; t < tokens.end; t += kBlockTokens) {
    const Range block{t, std::min(tokens.end, t + kBlockTokens)};
    if (largest) {
      fill_largest(*largest, r, block, rows);
    } else {
      stream.next(block.size(), rows);
    }
    // route() counts rows from token 0, so the pointer moves back by the tokens before this block, which are
    // never read.
    const auto* logits = reinterpret_cast<const float*>(
        reinterpret_cast<uintptr_t>(rows.data()) - sizeof(float) * static_cast<uintptr_t>(t * r.num_logits));
    route(r.router, logits, block, alone, routing);
    see(block, logits, rows);
  }
}

}  // namespace

RoutedTokens route_stream(const RouteRequest& r) {
  RoutedTokens routed{unrouted(r.router, r.num_tokens, r.num_logits, r.topk), {}};
  std::optional<Routing> ranked;  // with the spares behind the choices
  if (r.num_spares > 0) ranked = unrouted(r.router, r.num_tokens, r.num_logits, r.topk + r.num_spares);
  ThreadTeam alone(1);
  routed.logits.reserve(static_cast<size_t>(r.kept.size() * r.num_logits));
  route_blocks(r, {0, r.num_tokens}, std::nullopt, routed.routing,
               [&](Range block, const float* logits, const std::vector<float>& rows) {
                 if (ranked) route(r.router, logits, block, alone, *ranked);
                 keep_rows(rows, block, r.kept, routed.logits);
               });
  if (ranked) take_spares(*ranked, routed.routing);
  return routed;
}

Routing route_tokens(const RouteRequest& r, ThreadTeam& team) {
  if (r.distribution.kind == Distribution::trace)
    return read_trace(r.distribution.trace, r.num_tokens, r.num_logits, r.topk);
  refuse_impossible(r.distribution, r.num_logits, r.topk, r.router.rule.zero_experts);
  Routing routing = unrouted(r.router, r.num_tokens, r.num_logits, r.topk);
  const std::optional<LargestNormals> largest = deciding_logits(r);
  team.parallel_for(r.num_tokens, [&](int64_t begin, int64_t end) {
    // All threads have about equally many tokens, so only the thread with the first token reports the
    // progress.
    route_blocks(r, {begin, end}, largest, routing,
                 [&](Range block, const float*, const std::vector<float>&) {
                   if (r.progress && begin == 0 && block.begin / kBlockTokens % kBlocksBetweenProgress == 0)
                     r.progress(static_cast<double>(block.end) / static_cast<double>(end));
                 });
  });
  leave_out_tokens(r.distribution, routing);
  return routing;
}

}  // namespace moehill
