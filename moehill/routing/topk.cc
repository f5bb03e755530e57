// Top-k of the router's logits and the gate values.
#include "moehill/routing/topk.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"

namespace moehill {
namespace {

InputError bad_logit(float logit, int64_t token, int64_t expert) {
  return input_error("router logits", fmt::format("{} for token {}, expert {}", logit, token, expert),
                     "numbers, the largest of a token finite", "check what made the logits");
}

// Insertion into the chosen so far, best first: O(E) comparisons and few moves, as k is small against E.
// Experts come in rising order, so an equal logit stays behind the one of the lower id.
void choose(const float* logits, int64_t token, int num_experts, int topk, int32_t* chosen) {
  int num_chosen = 0;
  for (int32_t e = 0; e < num_experts; ++e) {
    const float logit = logits[e];
    if (std::isnan(logit)) throw bad_logit(logit, token, e);
    if (num_chosen == topk && !(logit > logits[chosen[topk - 1]])) continue;
    int place = num_chosen < topk ? num_chosen++ : topk - 1;
    for (; place > 0 && logit > logits[chosen[place - 1]]; --place) chosen[place] = chosen[place - 1];
    chosen[place] = e;
  }
}

void softmax_over(const float* logits, const int32_t* chosen, int topk, float* weight) {
  const float largest = logits[chosen[0]];
  float sum = 0;
  for (int j = 0; j < topk; ++j) sum += weight[j] = std::exp(logits[chosen[j]] - largest);
  for (int j = 0; j < topk; ++j) weight[j] /= sum;
}

}  // namespace

Routing route_topk(const std::vector<float>& logits, int64_t num_tokens, int num_experts, int topk) {
  if (topk < 1 || topk > num_experts) {
    throw input_error("--topk", fmt::format("{}", topk),
                      fmt::format("1 to {} (the number of experts)", num_experts),
                      "use fewer choices or more experts");
  }
  MOEHILL_CHECK(static_cast<int64_t>(logits.size()) == num_tokens * num_experts,
                "{} logits for {} tokens x {} experts", logits.size(), num_tokens, num_experts);
  Routing routing{num_tokens, num_experts, topk, {}, {}};
  routing.expert.resize(static_cast<size_t>(num_tokens * topk));
  routing.weight.resize(routing.expert.size());
  for (int64_t t = 0; t < num_tokens; ++t) {
    const float* row = logits.data() + t * num_experts;
    int32_t* chosen = routing.expert.data() + t * topk;
    choose(row, t, num_experts, topk, chosen);
    if (std::isinf(row[chosen[0]])) throw bad_logit(row[chosen[0]], t, chosen[0]);
    softmax_over(row, chosen, topk, routing.weight.data() + t * topk);
  }
  return routing;
}

void route_softmax_topk(const float* logits, Range tokens, bool renormalize, ThreadTeam& team,
                        Routing& routing) {
  const int topk = routing.topk;
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t t = tokens.begin + begin; t < tokens.begin + end; ++t) {
      const float* row = logits + t * routing.num_experts;
      int32_t* chosen = routing.expert.data() + t * topk;
      float* weight = routing.weight.data() + t * topk;
      choose(row, t, routing.num_experts, topk, chosen);
      if (renormalize) {
        softmax_over(row, chosen, topk, weight);
        continue;
      }
      const float largest = row[chosen[0]];
      float sum = 0;
      for (int e = 0; e < routing.num_experts; ++e) sum += std::exp(row[e] - largest);
      for (int j = 0; j < topk; ++j) weight[j] = std::exp(row[chosen[j]] - largest) / sum;
    }
  });
}

void route_topk_backward(const Routing& routing, Range tokens, const float* dp, float* dlogits,
                         ThreadTeam& team) {
  const int topk = routing.topk;
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t t = tokens.begin + begin; t < tokens.begin + end; ++t) {
      const int32_t* chosen = routing.expert.data() + t * topk;
      const float* weight = routing.weight.data() + t * topk;
      const float* dweight = dp + t * topk;
      float* row = dlogits + t * routing.num_experts;
      // In double: dp_j and the mean of the dp nearly cancel when the gate value is near one.
      double mean = 0;
      for (int j = 0; j < topk; ++j) mean += static_cast<double>(weight[j]) * dweight[j];
      std::fill_n(row, routing.num_experts, 0.0f);
      for (int j = 0; j < topk; ++j) row[chosen[j]] = static_cast<float>(weight[j] * (dweight[j] - mean));
    }
  });
}

}  // namespace moehill
