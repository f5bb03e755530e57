// This file has a router's scores and gate values in double, each with a bound for the error that a
// computation in f32 may have, and the slopes of the gate values, each with the size of its terms.
#include "moehill/moe/router_reference.h"

#include <algorithm>
#include <cmath>

namespace moehill {
namespace {

constexpr double kUnit = 0x1p-24;       // the rounding of f32
constexpr double kSmallest = 0x1p-126;  // a result below this may have any error of this size
// f32 has no number between 0 and 2^-149, so it may lose an exponential below that. The root of such an
// exponential is at most this.
constexpr double kSmallestRoot = 0x1p-74;
// Bounds the error of an exponential, a logarithm, a root and a quotient, and the sum between them, in units
// of rounding.
constexpr double kScoreUnits = 12;

double logistic(double z) { return z < 0 ? std::exp(z) / (1 + std::exp(z)) : 1 / (1 + std::exp(-z)); }

double log_1_plus_exp(double z) { return z > 0 ? z + std::log1p(std::exp(-z)) : std::log1p(std::exp(z)); }

// Returns the error of exp(z - largest), in units: the rounding of its exponent, which is a unit times the
// size of the exponent, and a few units more.
double exponential_units(double gap) { return std::isfinite(gap) ? 4 - gap : 4; }

// Returns the softmax of choice number `chosen.size()` of sparsemixer, [L]. The rule decides in f32 which
// experts take part, so that is done in f32 here too; the rest is in double.
std::vector<Bounded> mixer_softmax(const Router& router, std::span<const float> logits,
                                   std::span<const int32_t> chosen) {
  std::vector<float> open(logits.begin(), logits.end());
  for (const int32_t e : chosen) open[static_cast<size_t>(e)] = -INFINITY;
  const float most = *std::max_element(open.begin(), open.end());
  std::vector<Bounded> softmax;
  Bounded sum;
  for (const float z : open) {
    const float below = most - z, size = std::max(std::abs(z), most);
    const bool has_part = z > -INFINITY && !(below / size > static_cast<float>(2 * router.rule.jitter));
    const double gap = static_cast<double>(z) - static_cast<double>(most),
                 term = has_part ? std::exp(gap) : 0;
    softmax.push_back({term, term > 0 ? exponential_units(gap) * kUnit * term : 0});
    sum.value += term;
    sum.error += softmax.back().error;
  }
  const double units = static_cast<double>(logits.size()) + 2;
  for (Bounded& q : softmax) {
    if (sum.value == 0) break;
    q.error =
        (q.error + q.value / sum.value * (sum.error + units * kUnit * sum.value)) / sum.value + kSmallest;
    q.value /= sum.value;
  }
  return softmax;
}

}  // namespace

RouterReference::RouterReference(const Router& router, std::span<const float> logits)
    : router_(router), logits_(logits) {
  if (router.rule.score != RouterScore::softmax) return;
  const double largest = static_cast<double>(*std::max_element(logits.begin(), logits.end()));
  double sum = 0, errors = 0;
  for (const float logit : logits) {
    const double gap = static_cast<double>(logit) - largest, term = std::exp(gap);
    softmax_.push_back({term, term > 0 ? exponential_units(gap) : 0});
    sum += term;
    errors += term * softmax_.back().error;
  }
  const double sum_units = errors / sum + static_cast<double>(logits.size()) + 2;
  for (Bounded& s : softmax_) {
    s.value /= sum;
    s.error = (s.error + sum_units) * kUnit * s.value + kSmallest;
  }
}

Bounded RouterReference::score(size_t e) const {
  const double z = static_cast<double>(logits_[e]);
  switch (router_.rule.score) {
    case RouterScore::sigmoid: {
      const double s = logistic(z);
      return {s, kScoreUnits * kUnit * s + kSmallest};
    }
    case RouterScore::sqrt_softplus: {
      const double s = std::sqrt(log_1_plus_exp(z));
      return {s, kScoreUnits * kUnit * s + kSmallestRoot};
    }
    default:
      return softmax_[e];
  }
}

Bounded RouterReference::key(size_t e) const {
  // A score rises with its logit. So without a bias and without groups the logits give the same order as the
  // scores, and logits have no error.
  if (!router_.rule.bias && router_.rule.groups == 1) return {static_cast<double>(logits_[e]), 0};
  Bounded key = score(e);
  if (!router_.rule.bias) return key;
  key.value += static_cast<double>(router_.bias[e]);
  key.error += kUnit * std::abs(key.value);
  return key;
}

double RouterReference::factor_of(int32_t e) const {
  const bool scaled = router_.rule.expert_scale;
  return router_.rule.factor *
         (scaled ? static_cast<double>(router_.expert_scale[static_cast<size_t>(e)]) : 1.0);
}

std::vector<Bounded> RouterReference::gate_values(std::span<const int32_t> chosen) const {
  if (router_.rule.score == RouterScore::sparsemixer) {
    std::vector<Bounded> values;
    for (size_t j = 0; j < chosen.size(); ++j)
      values.push_back(mixer_softmax(router_, logits_, chosen.first(j))[static_cast<size_t>(chosen[j])]);
    return values;
  }
  const bool of_chosen = router_.rule.score == RouterScore::chosen_softmax;
  // Subtracts the largest logit, so that no exponential overflows.
  double largest = -INFINITY;
  for (const int32_t e : chosen)
    largest = std::max(largest, static_cast<double>(logits_[static_cast<size_t>(e)]));
  std::vector<Bounded> values;
  Bounded sum;
  for (const int32_t e : chosen) {
    const double gap = static_cast<double>(logits_[static_cast<size_t>(e)]) - largest, term = std::exp(gap);
    values.push_back(of_chosen ? Bounded{term, term > 0 ? exponential_units(gap) * kUnit * term : 0}
                               : score(static_cast<size_t>(e)));
    sum.value += values.back().value;
    sum.error += values.back().error;
  }
  const bool divides = of_chosen || router_.rule.normalized;
  if (router_.rule.normalized) sum.value = std::max(sum.value, router_.rule.least_sum);
  const double num = static_cast<double>(chosen.size());
  // The error of a quotient has three parts: the error of the numerator, the error of the sum as far as it
  // enters the quotient, and the roundings.
  for (size_t j = 0; j < values.size(); ++j) {
    Bounded& p = values[j];
    if (divides) {
      p.value /= sum.value;
      p.error = (p.error + p.value * sum.error) / sum.value + (num + 2) * kUnit * p.value;
    }
    const double factor = factor_of(chosen[j]);
    p.value *= factor;
    p.error = std::abs(factor) * p.error + 4 * kUnit * std::abs(p.value) + kSmallest;
  }
  return values;
}

// With q the softmax of choice j, the slope is dp_j / dz_e = p_j ([e = choice j] - q_e).
RouterReference::Slopes RouterReference::mixer_slopes(std::span<const int32_t> chosen) const {
  const Dense<double> zero{std::ssize(chosen), std::ssize(logits_)};
  Slopes slopes{zero, zero};
  for (size_t j = 0; j < chosen.size(); ++j) {
    const std::vector<Bounded> q = mixer_softmax(router_, logits_, chosen.first(j));
    const auto choice = static_cast<size_t>(chosen[j]);
    for (size_t e = 0; e < q.size(); ++e) {
      slopes.value.row(static_cast<int64_t>(j))[e] = q[choice].value * ((e == choice) - q[e].value);
      slopes.size.row(static_cast<int64_t>(j))[e] = q[choice].value * ((e == choice) + q[e].value);
    }
  }
  return slopes;
}

// Scores s give the gate values p_j = c_j s_j / D. D is 1, or max(S, least_sum) with S the sum of the chosen
// scores. So the slopes are
//
//   dp_j / ds_i = c_j ([i = j] - s_j / S [D = S]) / D,
//
// and ds_i / dz_e is s_i ([i = e] - s_e) for the softmax, and [i = e] s'(z_e) for the other scores. The
// softmax over the chosen is the case D = S with s = exp(z), whose derivative is s itself.
RouterReference::Slopes RouterReference::slopes(std::span<const int32_t> chosen) const {
  const RouterRule& rule = router_.rule;
  if (rule.score == RouterScore::sparsemixer) return mixer_slopes(chosen);
  const bool of_chosen = rule.score == RouterScore::chosen_softmax,
             of_all = rule.score == RouterScore::softmax;
  const size_t num = chosen.size();
  double largest = -INFINITY, sum = 0;
  for (const int32_t e : chosen)
    largest = std::max(largest, static_cast<double>(logits_[static_cast<size_t>(e)]));
  std::vector<double> s;
  for (const int32_t e : chosen) {
    const size_t i = static_cast<size_t>(e);
    sum += s.emplace_back(of_chosen ? std::exp(static_cast<double>(logits_[i]) - largest) : score(i).value);
  }
  // If the sum is below the least sum, the divisor is constant and no gradient goes through the sum.
  const bool divides = rule.normalized || of_chosen;
  const double divisor = divides ? std::max(sum, of_chosen ? 0 : rule.least_sum) : 1;
  const bool through_sum = divides && (of_chosen || sum >= rule.least_sum);
  Slopes slopes{{static_cast<int64_t>(num), std::ssize(logits_)},
                {static_cast<int64_t>(num), std::ssize(logits_)}};
  for (size_t j = 0; j < num; ++j) {
    const double c = factor_of(chosen[j]) / divisor, common = through_sum ? s[j] / sum : 0;
    double *value = slopes.value.row(static_cast<int64_t>(j)),
           *size = slopes.size.row(static_cast<int64_t>(j));
    // A chosen logit changes its own score and, if there is a sum, all gate values that are divided by it.
    for (size_t i = 0; i < num; ++i) {
      const double z = static_cast<double>(logits_[static_cast<size_t>(chosen[i])]);
      double by_logit = s[i];
      if (rule.score == RouterScore::sigmoid) by_logit = logistic(z) * logistic(-z);
      if (rule.score == RouterScore::sqrt_softplus) by_logit = s[i] > 0 ? logistic(z) / (2 * s[i]) : 0;
      value[chosen[i]] += c * ((i == j) - common) * by_logit;
      size[chosen[i]] += std::abs(c) * ((i == j) + common) * by_logit;
    }
    // With the softmax over all experts, the other logits change the chosen scores too.
    if (!of_all) continue;
    const double through_all = c * s[j] * (through_sum ? 0 : 1);  // the sum over i of s_i dp_j / ds_i
    for (size_t e = 0; e < softmax_.size(); ++e) {
      value[e] -= through_all * softmax_[e].value;
      size[e] += std::abs(c) * s[j] * (through_sum ? 2 : 1) * softmax_[e].value;
    }
  }
  return slopes;
}

std::vector<int32_t> choices_of(const Routing& routing, int64_t token) {
  std::vector<int32_t> choices;
  for (int64_t a = token * routing.topk; a < (token + 1) * routing.topk; ++a)
    choices.push_back(routing.logit_of(static_cast<size_t>(a)));
  return choices;
}

RouterReference::Slopes gate_slopes(const Router* router, const float* logits, const Routing& routing,
                                    int64_t token) {
  const size_t topk = static_cast<size_t>(routing.topk), num = static_cast<size_t>(routing.num_logits());
  const size_t first = static_cast<size_t>(token) * topk;
  const std::vector<int32_t> chosen = choices_of(routing, token);
  if (router != nullptr)
    return RouterReference(*router, {logits + static_cast<size_t>(token) * num, num}).slopes(chosen);
  RouterReference::Slopes slopes{{routing.topk, routing.num_experts}, {routing.topk, routing.num_experts}};
  const float* p = routing.weight.data() + first;
  for (size_t j = 0; j < topk; ++j) {
    for (size_t i = 0; i < topk; ++i) {
      if (chosen[j] == kNoExpert || chosen[i] == kNoExpert) continue;
      const double gate = static_cast<double>(p[j]), other = static_cast<double>(p[i]);
      slopes.value.row(static_cast<int64_t>(j))[chosen[i]] = gate * ((i == j) - other);
      slopes.size.row(static_cast<int64_t>(j))[chosen[i]] = gate * ((i == j) + other);
    }
  }
  return slopes;
}

}  // namespace moehill
