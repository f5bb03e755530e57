// Implements router.h: scores, choices and gate values of one token after the other, and their gradients.
// Forward is in f32 as models have it; gradients are computed in double, because their terms nearly cancel,
// and are rounded once.
#include "moehill/routing/router.h"

#include <algorithm>
#include <cmath>
#include <limits>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"

namespace moehill {
namespace {

constexpr double kBiasDeviation = 0.02;  // in units of a score at logit 0
constexpr double kScaleDeviation = 0.1;

// Scores makes the score of a logit. With F = float it is for gate values; with F = double, for their
// gradient.
template <typename F>
struct Scores {
  RouterScore kind;
  F largest = 0, sum = 1;  // for the softmax only: the token's largest logit, and the sum of exp(z - largest)

  F of(F z) const {
    switch (kind) {
      case RouterScore::sigmoid:
        return 1 / (1 + std::exp(-z));
      case RouterScore::sqrt_softplus:
        return std::sqrt(std::max(z, F{0}) + std::log1p(std::exp(-std::abs(z))));
      default:
        return std::exp(z - largest) / sum;
    }
  }
  // Returns d score / d logit; for a softmax, with the sum held constant.
  F slope(F z) const {
    const F s = of(z);
    if (kind == RouterScore::sigmoid) return s / (1 + std::exp(z));  // 1 - s loses its digits near s = 1
    if (kind == RouterScore::sqrt_softplus) return s > 0 ? 1 / (1 + std::exp(-z)) / (2 * s) : F{0};
    return s;
  }
};

// Returns the scores over all logits of one token.
template <typename F>
Scores<F> scores_of(RouterScore kind, const float* logits, int num) {
  Scores<F> scores{kind};
  if (kind != RouterScore::softmax) return scores;
  scores.largest = static_cast<F>(*std::max_element(logits, logits + num));
  scores.sum = 0;
  for (int e = 0; e < num; ++e) scores.sum += std::exp(static_cast<F>(logits[e]) - scores.largest);
  return scores;
}

// MixerSoftmax is the softmax of one choice of sparsemixer. It is over those experts that were not chosen
// before and whose logits are not far below `largest`, the best logit among them. Which logits are near
// enough is decided in f32, so that forward (F = float) and backward (F = double) agree on it. An expert with
// the logit -inf never takes part, even if there is no other.
template <typename F>
struct MixerSoftmax {
  float largest = -std::numeric_limits<float>::infinity();
  F sum = 0;

  F term(const Router& router, std::span<const float> logits, std::span<const int32_t> before,
         size_t e) const {
    const float z = logits[e];
    // This is the rule of RouterRule: (m - z) / max(|z|, m) > 2 jitter.
    const bool is_far =
        (largest - z) / std::max(std::abs(z), largest) > static_cast<float>(2 * router.rule.jitter);
    if (is_far || std::isinf(z) || is_among(e, before)) return 0;
    return std::exp(static_cast<F>(z) - static_cast<F>(largest));
  }
  static bool is_among(size_t e, std::span<const int32_t> experts) {
    return std::find(experts.begin(), experts.end(), static_cast<int32_t>(e)) != experts.end();
  }
};

template <typename F>
MixerSoftmax<F> mixer_softmax(const Router& router, std::span<const float> logits,
                              std::span<const int32_t> before) {
  MixerSoftmax<F> softmax;
  for (size_t e = 0; e < logits.size(); ++e) {
    if (!softmax.is_among(e, before)) softmax.largest = std::max(softmax.largest, logits[e]);
  }
  for (size_t e = 0; e < logits.size(); ++e) softmax.sum += softmax.term(router, logits, before, e);
  if (softmax.sum == 0) softmax.sum = 1;
  return softmax;
}

InputError bad_logit(float logit, int64_t token, int64_t expert,
                     const char* allowed = "numbers, the largest of a token finite") {
  return input_error("router logits",
                     fmt::format("{} for token {}, expert {}", unsigned_nan(logit), token, expert), allowed,
                     "check what made the logits");
}

void refuse_bad_logits(RouterScore kind, int64_t token, const float* logits, int num) {
  int largest = 0;
  for (int e = 0; e < num; ++e) {
    if (std::isnan(logits[e])) throw bad_logit(logits[e], token, e);
    if (logits[e] > logits[largest]) largest = e;
  }
  const bool softmax = kind != RouterScore::sigmoid && kind != RouterScore::sqrt_softplus;
  if (std::isinf(logits[largest]) && (softmax || logits[largest] > 0))
    throw bad_logit(logits[largest], token, largest);
}

// Keys are the numbers by which a token's experts are chosen: scores plus bias, or simply the logits, which
// have the same order as the scores.
struct Keys {
  const Router& router;
  const float* logits;
  Scores<float> scores;
  bool by_scores;

  float of(int e) const {
    if (!by_scores) return logits[e];
    const float score = scores.of(logits[e]);
    return router.bias.empty() ? score : score + router.bias[static_cast<size_t>(e)];
  }
};

// Best has the best candidates so far. Candidates must come in rising order of their ids, so that of equal
// keys the lower id wins. It inserts each candidate, because it keeps few out of many.
struct Best {
  int32_t* id;
  float* key;
  int most, num = 0;

  void offer(int32_t candidate, float its_key) {
    if (num == most && !(its_key > key[most - 1])) return;
    int place = num < most ? num++ : most - 1;
    for (; place > 0 && its_key > key[place - 1]; --place) {
      id[place] = id[place - 1];
      key[place] = key[place - 1];
    }
    id[place] = candidate;
    key[place] = its_key;
  }
};

// Ranks the groups of experts and marks those that are kept.
void keep_groups(const RouterRule& rule, const Keys& keys, int num, bool* kept) {
  const int size = num / rule.groups;
  int32_t ids[kMostGroups];
  float ranks[kMostGroups];
  Best best{ids, ranks, rule.kept_groups};
  for (int g = 0; g < rule.groups; ++g) {
    int32_t of_group[2] = {};
    float two[2] = {};
    Best top{of_group, two, rule.best_two ? 2 : 1};
    for (int e = g * size; e < (g + 1) * size; ++e) top.offer(e, keys.of(e));
    best.offer(g, rule.best_two ? two[0] + two[1] : two[0]);
    kept[g] = false;
  }
  for (int i = 0; i < best.num; ++i) kept[ids[i]] = true;
}

// Writes the chosen experts, the best first.
void choose(const RouterRule& rule, const Keys& keys, int num, std::span<int32_t> chosen) {
  float key[kMostChoices];
  Best best{chosen.data(), key, static_cast<int>(chosen.size())};
  bool kept[kMostGroups] = {true};
  if (rule.groups > 1) keep_groups(rule, keys, num, kept);
  const int size = num / rule.groups;
  for (int g = 0; g < rule.groups; ++g) {
    for (int e = g * size; kept[g] && e < (g + 1) * size; ++e) best.offer(e, keys.of(e));
  }
}

float scale_of(const Router& router, int32_t e) {
  return router.expert_scale.empty() ? 1.0f : router.expert_scale[static_cast<size_t>(e)];
}

// Returns the largest logit of the chosen experts. Throws if it is infinite: a table may choose only experts
// with the logit -inf, over which there is no softmax.
float largest_of_chosen(int64_t token, const float* logits, std::span<const int32_t> chosen) {
  const int32_t best = *std::max_element(chosen.begin(), chosen.end(),
                                         [&](int32_t a, int32_t b) { return logits[a] < logits[b]; });
  if (std::isinf(logits[best]))
    throw bad_logit(logits[best], token, best, "numbers, the largest of a token's chosen experts finite");
  return logits[best];
}

// Writes the gate values of the chosen experts.
void gate_values(const Router& router, int64_t token, std::span<const float> row, Scores<float> scores,
                 std::span<const int32_t> chosen, float* weight) {
  const RouterRule& rule = router.rule;
  const float* const logits = row.data();
  if (rule.score == RouterScore::sparsemixer) {
    for (size_t j = 0; j < chosen.size(); ++j) {
      const auto q = mixer_softmax<float>(router, row, chosen.first(j));
      weight[j] = q.term(router, row, chosen.first(j), static_cast<size_t>(chosen[j])) / q.sum;
    }
    return;
  }
  if (rule.score == RouterScore::chosen_softmax) scores.largest = largest_of_chosen(token, logits, chosen);
  float sum = 0;
  for (size_t j = 0; j < chosen.size(); ++j) sum += weight[j] = scores.of(logits[chosen[j]]);
  if (rule.normalized) sum = std::max(sum, static_cast<float>(rule.least_sum));
  const bool divides = rule.normalized || rule.score == RouterScore::chosen_softmax;
  const float factor = static_cast<float>(rule.factor);
  for (size_t j = 0; j < chosen.size(); ++j) {
    if (divides) weight[j] /= sum;
    weight[j] *= factor * scale_of(router, chosen[j]);
  }
}

// Computes dlogits of one token, in double. With c_j = factor * scale_j and the scores s, the gate values are
//
//   p_j = c_j s_j / D, where D = 1, or with `normalized` D = max(sum of the chosen s, least_sum).
//
// So ds_j = (c_j dp_j - m) / D, where m = sum_i c_i dp_i s_i / D if D is that sum, otherwise 0. A softmax
// over all logits gives dlogit_e = s_e (ds_e - sum_i s_i ds_i), with ds_e = 0 for experts that are not
// chosen. For the other scores dlogit_j = ds_j s'(z_j).
void token_backward(const Router& router, const float* logits, std::span<const int32_t> chosen,
                    const float* dp, std::span<float> dlogits) {
  const RouterRule& rule = router.rule;
  const auto scores = scores_of<double>(rule.score, logits, static_cast<int>(dlogits.size()));
  double sum = 0, weighted = 0;
  for (size_t j = 0; j < chosen.size(); ++j) {
    const double s = scores.of(static_cast<double>(logits[chosen[j]]));
    sum += s;
    weighted += s * rule.factor * static_cast<double>(scale_of(router, chosen[j])) * dp[j];
  }
  // Where the sum is below least_sum, D is a constant and has no gradient.
  const bool through_sum = rule.normalized && sum >= rule.least_sum;
  const double divisor = rule.normalized ? std::max(sum, rule.least_sum) : 1;
  const double common = through_sum ? weighted / divisor : 0;
  double ds[kMostChoices], mean = 0;
  for (size_t j = 0; j < chosen.size(); ++j) {
    const double scale = rule.factor * static_cast<double>(scale_of(router, chosen[j]));
    ds[j] = (scale * dp[j] - common) / divisor;
    mean += scores.of(static_cast<double>(logits[chosen[j]])) * ds[j];
  }
  const bool softmax = rule.score == RouterScore::softmax;
  if (softmax) {
    for (size_t e = 0; e < dlogits.size(); ++e)
      dlogits[e] = static_cast<float>(-mean * scores.of(static_cast<double>(logits[e])));
  } else {
    std::fill(dlogits.begin(), dlogits.end(), 0.0f);
  }
  for (size_t j = 0; j < chosen.size(); ++j) {
    const double slope = scores.slope(static_cast<double>(logits[chosen[j]]));
    dlogits[static_cast<size_t>(chosen[j])] = static_cast<float>(slope * (softmax ? ds[j] - mean : ds[j]));
  }
}

// Writes the softmax q over the chosen. Without scales the gate values suffice, which are factor * q. A scale
// may be 0, and then the gate value does not tell q, so with scales q is made from the logits.
void softmax_of_chosen(const Router& router, const float* logits, std::span<const int32_t> chosen,
                       const float* weight, double* q) {
  if (router.expert_scale.empty()) {
    for (size_t j = 0; j < chosen.size(); ++j) q[j] = static_cast<double>(weight[j]) / router.rule.factor;
    return;
  }
  double largest = -std::numeric_limits<double>::infinity(), sum = 0;
  for (const int32_t e : chosen) largest = std::max(largest, static_cast<double>(logits[e]));
  for (size_t j = 0; j < chosen.size(); ++j)
    sum += q[j] = std::exp(static_cast<double>(logits[chosen[j]]) - largest);
  for (size_t j = 0; j < chosen.size(); ++j) q[j] /= sum;
}

// Computes the gradient of the softmax q over the chosen. The gate values are p_j = c_j q_j, so
// dlogit_j = q_j (c_j dp_j - sum_i c_i dp_i q_i).
void token_backward_of_chosen(const Router& router, const float* logits, std::span<const int32_t> chosen,
                              const float* weight, const float* dp, std::span<float> dlogits) {
  double q[kMostChoices], dq[kMostChoices], sum = 0;
  softmax_of_chosen(router, logits, chosen, weight, q);
  for (size_t j = 0; j < chosen.size(); ++j) {
    dq[j] = router.rule.factor * static_cast<double>(scale_of(router, chosen[j])) * dp[j];
    sum += q[j] * dq[j];
  }
  std::fill(dlogits.begin(), dlogits.end(), 0.0f);
  for (size_t j = 0; j < chosen.size(); ++j)
    dlogits[static_cast<size_t>(chosen[j])] = static_cast<float>(q[j] * (dq[j] - sum));
}

// Computes the gradient of sparsemixer: dlogit_e = sum_j dp_j p_j ([e = choice j] - q_je), where q_j is the
// softmax of choice j, and p_j the value of q_j at that choice.
void token_backward_of_mixer(const Router& router, std::span<const float> logits,
                             std::span<const int32_t> chosen, const float* dp, std::span<float> dlogits) {
  MixerSoftmax<double> of_choice[kMostChoices];
  double dp_p[kMostChoices];
  for (size_t j = 0; j < chosen.size(); ++j) {
    const auto q = of_choice[j] = mixer_softmax<double>(router, logits, chosen.first(j));
    dp_p[j] = dp[j] * q.term(router, logits, chosen.first(j), static_cast<size_t>(chosen[j])) / q.sum;
  }
  for (size_t e = 0; e < dlogits.size(); ++e) {
    double sum = 0;
    for (size_t j = 0; j < chosen.size(); ++j) {
      const auto& q = of_choice[j];
      const double is_choice = chosen[j] == static_cast<int32_t>(e) ? 1 : 0;
      sum += dp_p[j] * (is_choice - q.term(router, logits, chosen.first(j), e) / q.sum);
    }
    dlogits[e] = static_cast<float>(sum);
  }
}

std::vector<float> normals(size_t num, uint32_t seed, Stream stream, double mean, double deviation) {
  std::vector<float> values(num);
  for (size_t i = 0; i < num; ++i)
    values[i] = static_cast<float>(mean + deviation * random_normal(seed, stream, i));
  return values;
}

// Makes a hash table. The experts of each id are drawn without replacement: draw j is the u-th of the experts
// that are left.
std::vector<int32_t> hash_table(const RouterRule& rule, int num_experts, int topk, uint32_t seed) {
  std::vector<int32_t> table(static_cast<size_t>(rule.hash_ids * topk)), taken;
  for (int64_t id = 0; id < rule.hash_ids; ++id) {
    int32_t* row = table.data() + id * topk;
    for (int j = 0; j < topk; ++j) {
      const double u = random_uniform(seed, Stream::kHashTable, static_cast<uint64_t>(id * topk + j));
      auto expert = static_cast<int32_t>(u * (num_experts - j));
      taken.assign(row, row + j);
      std::sort(taken.begin(), taken.end());
      for (const int32_t t : taken) expert += expert >= t;
      row[j] = expert;
    }
  }
  return table;
}

}  // namespace

Router make_router(const RouterRule& rule, int64_t num_tokens, int num_experts, int topk, uint32_t seed) {
  refuse_impossible(rule, num_experts, topk);
  Router router{rule, {}, {}, {}, {}};
  const size_t num = static_cast<size_t>(num_logits(rule, num_experts));
  if (rule.bias) {
    const double score = rule.score == RouterScore::softmax ? 1 / static_cast<double>(num) : 0.5;
    router.bias = normals(num, seed, Stream::kRouterBias, 0, kBiasDeviation * score);
  }
  if (rule.expert_scale) router.expert_scale = normals(num, seed, Stream::kExpertScale, 1, kScaleDeviation);
  if (rule.hash_ids == 0) return router;
  router.experts_of_id = hash_table(rule, num_experts, topk, seed);
  for (int64_t t = 0; t < num_tokens; ++t) {
    const double u = random_uniform(seed, Stream::kTokenIds, static_cast<uint64_t>(t));
    router.id_of_token.push_back(static_cast<int32_t>(u * static_cast<double>(rule.hash_ids)));
  }
  return router;
}

void route_token(const Router& router, int64_t token, std::span<const float> row, std::span<int32_t> chosen,
                 float* weight) {
  const RouterRule& rule = router.rule;
  const float* logits = row.data();
  const int num = static_cast<int>(row.size());
  refuse_bad_logits(rule.score, token, logits, num);
  const Scores<float> scores = scores_of<float>(rule.score, logits, num);
  if (rule.hash_ids > 0) {
    const auto id = static_cast<size_t>(router.id_of_token[static_cast<size_t>(token)]);
    std::copy_n(router.experts_of_id.begin() + static_cast<ptrdiff_t>(id * chosen.size()), chosen.size(),
                chosen.begin());
  } else {
    choose(rule, {router, logits, scores, rule.bias || rule.groups > 1}, num, chosen);
  }
  gate_values(router, token, row, scores, chosen, weight);
}

double logit_margin(const Router& router, double logit) {
  const RouterRule& rule = router.rule;
  if (!rule.bias && rule.groups == 1) return 0;  // keys are the logits
  const Scores<double> scores{rule.score};
  constexpr double kRounding = 1e-5;  // of keys in f32
  double range = kRounding;
  if (!router.bias.empty()) {
    const auto [least, most] = std::minmax_element(router.bias.begin(), router.bias.end());
    range += static_cast<double>(*most) - static_cast<double>(*least);
  }
  const double most = scores.of(logit) - range;
  if (most <= 0) return std::numeric_limits<double>::infinity();
  double low = 0, high = 1;
  while (scores.of(logit - high) > most) high *= 2;
  for (int i = 0; i < 50; ++i) {
    const double middle = (low + high) / 2;
    (scores.of(logit - middle) > most ? low : high) = middle;
  }
  return high;
}

namespace {

// Separates the zero experts among the choices of a token. Their numbers follow the numbers of the experts.
void part_zero_experts(size_t first, Routing& routing) {
  if (routing.zero.empty()) return;
  for (size_t a = first; a < first + static_cast<size_t>(routing.topk); ++a) {
    const int32_t id = routing.expert[a];
    const bool is_expert = id < routing.num_experts;
    routing.expert[a] = is_expert ? id : kNoExpert;
    routing.zero[a] = is_expert ? -1 : id - routing.num_experts;
  }
}

}  // namespace

void route(const Router& router, const float* logits, Range tokens, ThreadTeam& team, Routing& routing) {
  const size_t topk = static_cast<size_t>(routing.topk), num = static_cast<size_t>(routing.num_logits());
  MOEHILL_CHECK(routing.topk <= kMostChoices && router.rule.groups <= kMostGroups, "{} choices of {} groups",
                topk, router.rule.groups);
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    for (int64_t t = tokens.begin + begin; t < tokens.begin + end; ++t) {
      const size_t first = static_cast<size_t>(t) * topk;
      route_token(router, t, {logits + static_cast<size_t>(t) * num, num},
                  {routing.expert.data() + first, topk}, routing.weight.data() + first);
      part_zero_experts(first, routing);
    }
  });
}

Routing unrouted(const Router& router, int64_t num_tokens, int num_logits, int topk) {
  const int zero_experts = router.rule.zero_experts;
  Routing routing{num_tokens, num_logits - zero_experts, topk, {}, {}};
  routing.expert.resize(static_cast<size_t>(num_tokens * topk));
  routing.weight.resize(routing.expert.size());
  routing.num_zero_experts = zero_experts;
  if (zero_experts > 0) routing.zero.resize(routing.expert.size());
  return routing;
}

void take_spares(const Routing& ranked, Routing& routing) {
  for (auto token = ranked.expert.begin(); token != ranked.expert.end(); token += ranked.topk)
    routing.spare.insert(routing.spare.end(), token + routing.topk, token + ranked.topk);
}

Routing route_all(const Router& router, const std::vector<float>& logits, int64_t num_tokens, int num_logits,
                  int topk, int num_spares) {
  MOEHILL_CHECK(static_cast<int64_t>(logits.size()) == num_tokens * num_logits,
                "{} logits for {} tokens x {} experts", logits.size(), num_tokens, num_logits);
  Routing routing = unrouted(router, num_tokens, num_logits, topk);
  ThreadTeam alone(1);
  route(router, logits.data(), {0, num_tokens}, alone, routing);
  if (num_spares > 0)
    take_spares(route_all(router, logits, num_tokens, num_logits, topk + num_spares), routing);
  return routing;
}

void weigh_choices(const Router& router, const float* logits, ThreadTeam& team, Routing& routing) {
  const size_t topk = static_cast<size_t>(routing.topk), num = static_cast<size_t>(routing.num_experts);
  team.parallel_for(routing.num_tokens, [&](int64_t begin, int64_t end) {
    for (int64_t t = begin; t < end; ++t) {
      const size_t first = static_cast<size_t>(t) * topk;
      const float* const row = logits + static_cast<size_t>(t) * num;
      gate_values(router, t, {row, num}, scores_of<float>(router.rule.score, row, routing.num_experts),
                  {routing.expert.data() + first, topk}, routing.weight.data() + first);
    }
  });
}

void route_backward(const Router& router, const RouterGradient& gradient, Range tokens, ThreadTeam& team) {
  const Routing& routing = gradient.routing;
  const size_t topk = static_cast<size_t>(routing.topk), num = static_cast<size_t>(routing.num_logits());
  team.parallel_for(tokens.size(), [&](int64_t begin, int64_t end) {
    int32_t choices[kMostChoices];
    for (int64_t token = tokens.begin + begin; token < tokens.begin + end; ++token) {
      const size_t t = static_cast<size_t>(token);
      for (size_t j = 0; j < topk; ++j) choices[j] = routing.logit_of(t * topk + j);
      const std::span<const int32_t> chosen{choices, topk};
      const std::span<float> row{gradient.dlogits + t * num, num};
      const float* dp = gradient.dp + t * topk;
      const float* logits = gradient.logits == nullptr ? nullptr : gradient.logits + t * num;
      if (router.rule.score == RouterScore::sparsemixer) {
        token_backward_of_mixer(router, {logits, num}, chosen, dp, row);
        continue;
      }
      if (router.rule.score == RouterScore::chosen_softmax) {
        token_backward_of_chosen(router, logits, chosen, routing.weight.data() + t * topk, dp, row);
      } else {
        token_backward(router, logits, chosen, dp, row);
      }
    }
  });
}

}  // namespace moehill
