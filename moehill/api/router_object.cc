// Implementation of api/router_object.h. This file checks the description; routing/router.h routes.
#include "moehill/api/router_object.h"

#include <algorithm>
#include <cmath>

#include "moehill/api/sized_struct.h"
#include "moehill/api/step_tokens.h"
#include "moehill/base/error.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

moehill_router_desc complete(const moehill_router_desc* given) {
  moehill_router_desc full;
  moehill_router_desc_init(&full);
  return over_defaults(given, full, "the router's description", offsetof(moehill_router_desc, score),
                       "moehill_router_desc_init");
}

// Throws unless the experts can be divided into these groups and the choices come from the kept ones.
void require_groups(const moehill_router_desc& d) {
  require_between("groups", d.groups, 1, kMostGroups, "1 means no groups");
  require_between("kept_groups", d.kept_groups, 1, d.groups, "at most the groups");
  require_between("group_rank", d.group_rank, 1, 2, "2 ranks a group by its best two keys, 1 by its best");
  if (d.groups == 1) return;
  const int size = d.experts / d.groups;
  if (d.experts % d.groups != 0 || size < d.group_rank) {
    throw invalid("groups", fmt::format("{} of {}", d.groups, count_text(d.experts, "expert")),
                  fmt::format("groups of one size, {} or more", count_text(d.group_rank, "expert")),
                  "take a divisor of the experts");
  }
  require_between("topk", d.topk, 1, size * d.kept_groups, "at most the experts of the kept groups");
}

// Refuses combinations of members that have no meaning, for example a normalisation of scores that sum to 1
// already.
void require_together(const moehill_router_desc& d) {
  const auto refuse = [](bool broken, const char* sentence, const char* remedy) {
    if (broken) throw usage_error(sentence, remedy);
  };
  const bool of_chosen = d.score == MOEHILL_SCORE_CHOSEN_SOFTMAX;
  refuse(of_chosen && d.bias != nullptr,
         "bias cannot be used with MOEHILL_SCORE_CHOSEN_SOFTMAX: it needs a score of every expert",
         "take MOEHILL_SCORE_SOFTMAX, or leave the bias out");
  refuse(
      of_chosen && d.groups > 1,
      "groups cannot be used with MOEHILL_SCORE_CHOSEN_SOFTMAX: ranking them needs a score of every expert",
      "take MOEHILL_SCORE_SOFTMAX, or 1 group");
  refuse(of_chosen && d.normalized == 1,
         "normalized has no effect with MOEHILL_SCORE_CHOSEN_SOFTMAX, whose gates add up to 1 already",
         "leave it out");
  const bool has_more = d.bias != nullptr || d.groups > 1 || d.normalized == 1 || d.factor != 1 ||
                        d.expert_scale != nullptr || d.experts_of_id != nullptr;
  refuse(d.score == MOEHILL_SCORE_SPARSEMIXER && has_more,
         "MOEHILL_SCORE_SPARSEMIXER cannot be used with parts of other routers",
         "leave bias, groups, normalized, factor, expert_scale and table out");
  refuse(d.experts_of_id != nullptr && (d.bias != nullptr || d.groups > 1),
         "experts_of_id cannot be used with a bias or groups, since the table chooses", "leave them out");
  refuse((d.experts_of_id != nullptr) != (d.num_ids > 0), "experts_of_id and num_ids need each other",
         "set both, or neither");
}

// Checks each member by itself, then those that exclude each other.
void require_legal(const moehill_router_desc& d) {
  require_between("experts", d.experts, 1, 65536, "give the number of logits of a token");
  require_between("topk", d.topk, 1, std::min(d.experts, kMostChoices), "give the choices of a token");
  require_between("score", d.score, MOEHILL_SCORE_CHOSEN_SOFTMAX, MOEHILL_SCORE_SPARSEMIXER,
                  "take a moehill_score");
  require_between("normalized", d.normalized, 0, 1, "1 divides gates by their sum");
  require_between("jitter", d.jitter, 0, 1, "give the jitter of sparsemixer, in Phi-3.5-MoE 0.01");
  require_between("least_sum", d.least_sum, 1e-30, 1, "give the least sum to divide by");
  require_between("factor", d.factor, 1e-6, 1e6, "give the factor of all gates");
  require_between("num_ids", static_cast<double>(d.num_ids), 0, 1 << 24, "give the rows of experts_of_id");
  require_groups(d);
  require_together(d);
}

// Checks that the table names distinct experts for each id.
void require_table(const moehill_router_desc& d) {
  const int64_t choices = d.num_ids * d.topk;
  require_memory({{"experts_of_id", d.experts_of_id, choices, sizeof(int32_t)}}, {});
  for (int64_t i = 0; i < choices; ++i) {
    const int32_t e = d.experts_of_id[i];
    const int32_t* const row = d.experts_of_id + i / d.topk * d.topk;
    if (e >= 0 && e < d.experts && std::find(row, d.experts_of_id + i, e) == d.experts_of_id + i) continue;
    throw invalid("experts_of_id", fmt::format("{} for id {}", e, i / d.topk),
                  fmt::format("{} of 0 to {}", count_text(d.topk, "distinct expert"), d.experts - 1),
                  "check the table");
  }
}

// Returns the caller's numbers, one for each expert; nothing if `given` is null. Throws for a number that is
// not finite.
std::vector<float> numbers(const char* what, const float* given, int experts) {
  if (given == nullptr) return {};
  require_memory({{what, given, experts, sizeof(float)}}, {});
  for (int e = 0; e < experts; ++e) {
    if (std::isfinite(given[e])) continue;
    throw invalid(what, fmt::format("{} for expert {}", given[e], e), "numbers", "check what made them");
  }
  return {given, given + experts};
}

RouterScore score_of(int32_t score) { return static_cast<RouterScore>(score); }
static_assert(static_cast<int>(RouterScore::chosen_softmax) == MOEHILL_SCORE_CHOSEN_SOFTMAX &&
              static_cast<int>(RouterScore::sparsemixer) == MOEHILL_SCORE_SPARSEMIXER);

// Throws if there are so many tokens that a logit could not be numbered in 32 bits.
void require_tokens(int64_t tokens, int experts) {
  require_between("tokens", static_cast<double>(tokens), 0, static_cast<double>(INT32_MAX / experts),
                  "cut them into several calls");
}

}  // namespace

RouterObject::RouterObject(std::shared_ptr<Context> context, const moehill_router_desc* given)
    : context_(std::move(context)) {
  const moehill_router_desc d = complete(given);
  require_legal(d);
  require_table(d);
  experts_ = d.experts;
  topk_ = d.topk;
  router_.rule = {.score = score_of(d.score),
                  .bias = d.bias != nullptr,
                  .groups = d.groups,
                  .kept_groups = d.kept_groups,
                  .best_two = d.group_rank == 2,
                  .jitter = d.jitter,
                  .normalized = d.normalized == 1,
                  .least_sum = d.least_sum,
                  .factor = d.factor,
                  .expert_scale = d.expert_scale != nullptr,
                  .hash_ids = d.num_ids};
  router_.bias = numbers("bias", d.bias, d.experts);
  router_.expert_scale = numbers("expert_scale", d.expert_scale, d.experts);
  if (d.num_ids > 0) router_.experts_of_id.assign(d.experts_of_id, d.experts_of_id + d.num_ids * d.topk);
  routing_ = {0, experts_, topk_, {}, {}};
}

void RouterObject::set_bias(const float* bias) {
  if (!router_.rule.bias) {
    throw invalid("bias", "one for a router without", "one that was made with a bias",
                  "make it with a bias, of zeros if need be");
  }
  // The new values are checked before the lock and swapped under it, so no routing sees half of them.
  if (bias == nullptr) throw null_argument("bias");
  std::vector<float> values = numbers("bias", bias, experts_);
  context_->on_first([&](ThreadTeam&) { router_.bias.swap(values); });
}

void RouterObject::require_token_ids(const Tokens& tokens) const {
  const int64_t ids = router_.rule.hash_ids;
  require_memory({{"token_ids", tokens.token_ids, ids > 0 ? tokens.count : 0, sizeof(int32_t)}}, {});
  for (int64_t t = 0; ids > 0 && t < tokens.count; ++t) {
    if (tokens.token_ids[t] >= 0 && tokens.token_ids[t] < ids) continue;
    throw invalid("token_ids", fmt::format("{} for token {}", tokens.token_ids[t], t),
                  fmt::format("0 to {}, the ids of the table", ids - 1), "check the ids");
  }
}

void RouterObject::route(const Tokens& tokens, int32_t* expert_ids, float* gates) {
  require_tokens(tokens.count, experts_);
  const int64_t choices = tokens.count * topk_;
  require_memory(
      {{"logits", tokens.logits, tokens.count * experts_, sizeof(float)}},
      {{"expert_ids", expert_ids, choices, sizeof(int32_t)}, {"gates", gates, choices, sizeof(float)}});
  require_token_ids(tokens);
  // Only the first device works here: routing costs little, and the caller's logits are in one process.
  context_->on_first([&](ThreadTeam& team) {
    if (router_.rule.hash_ids > 0)
      router_.id_of_token.assign(tokens.token_ids, tokens.token_ids + tokens.count);
    const size_t num = static_cast<size_t>(experts_), topk = static_cast<size_t>(topk_);
    team.parallel_for(tokens.count, [&](int64_t begin, int64_t end) {
      for (int64_t t = begin; t < end; ++t) {
        route_token(router_, t, {tokens.logits + t * experts_, num}, {expert_ids + t * topk_, topk},
                    gates + t * topk_);
      }
    });
  });
}

void RouterObject::require_choices(const Gradient& g) const {
  for (int64_t i = 0; i < g.count * topk_; ++i) {
    if (g.expert_ids[i] >= 0 && g.expert_ids[i] < experts_) continue;
    throw invalid("expert_ids", fmt::format("{} for token {}", g.expert_ids[i], i / topk_),
                  fmt::format("0 to {}, as the router gave them", experts_ - 1),
                  "pass the router's own choices, with d_gates 0 for what was dropped since");
  }
}

void RouterObject::backward(const Gradient& g) {
  require_tokens(g.count, experts_);
  const int64_t choices = g.count * topk_, all = g.count * experts_;
  require_memory({{"logits", g.logits, all, sizeof(float)},
                  {"expert_ids", g.expert_ids, choices, sizeof(int32_t)},
                  {"d_gates", g.d_gates, choices, sizeof(float)}},
                 {{"d_logits", g.d_logits, all, sizeof(float)}});
  require_choices(g);
  context_->on_first([&](ThreadTeam& team) {
    routing_.num_tokens = g.count;
    routing_.expert.assign(g.expert_ids, g.expert_ids + choices);
    routing_.weight.resize(static_cast<size_t>(choices));
    // The gradient of this score needs the gate values, which are made again here.
    if (router_.rule.score == RouterScore::chosen_softmax) weigh_choices(router_, g.logits, team, routing_);
    route_backward(router_, {g.logits, routing_, g.d_gates, g.d_logits}, {0, g.count}, team);
  });
}

}  // namespace moehill
