// A distribution promises properties of a routing, such as a share of hot experts. This file judges whether a
// routing keeps the promise, with ranges that a sound routing misses once in 10^9 cases.
#include "moehill/routing/skew.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/routing/statistics.h"

namespace moehill {
namespace {

constexpr double kLargestExponent = 20;
constexpr double kMissProbability = 1e-9;  // the probability that a sound zipf routing is refused

struct Moments {
  double mean, variance;
};

// Returns mean and variance of ln(rank) if p(rank) is proportional to rank^-exponent, rank = 1..num.
Moments log_rank_moments(int num, double exponent) {
  double sum = 0, first = 0, second = 0;
  for (int rank = 1; rank <= num; ++rank) {
    const double log_rank = std::log(static_cast<double>(rank)), weight = std::exp(-exponent * log_rank);
    sum += weight;
    first += weight * log_rank;
    second += weight * log_rank * log_rank;
  }
  const double mean = first / sum;
  return {mean, std::max(0.0, second / sum - mean * mean)};
}

// Returns the estimate of maximum likelihood: the exponent in [-20, 20] for which the mean of ln(rank) is
// this one. It bisects, since the mean falls as the exponent rises.
double fitted_exponent(int num, double mean_log_rank) {
  double lo = -kLargestExponent, hi = kLargestExponent;
  for (int i = 0; i < 60; ++i) {
    const double middle = (lo + hi) / 2;
    (log_rank_moments(num, middle).mean > mean_log_rank ? lo : hi) = middle;
  }
  return (lo + hi) / 2;
}

// Returns how many choices each logit has. Distributions make the logits of zero experts like those of
// experts.
std::vector<int64_t> logit_load(const Routing& routing) {
  std::vector<int64_t> load(static_cast<size_t>(routing.num_logits()), 0);
  for (size_t a = 0; a < routing.expert.size(); ++a) {
    const int32_t logit = routing.logit_of(a);
    if (logit != kNoExpert) ++load[static_cast<size_t>(logit)];
  }
  return load;
}

SkewProperty zipf_property(const DistributionOptions& options, const Routing& routing, uint32_t seed) {
  const int num_logits = routing.num_logits();
  const std::vector<int32_t> order = expert_order(num_logits, seed);
  std::vector<double> log_rank(order.size());
  for (size_t r = 0; r < order.size(); ++r) {
    log_rank[static_cast<size_t>(order[r])] = std::log(static_cast<double>(r + 1));
  }
  double sum = 0;
  for (int64_t t = 0; t < routing.num_tokens; ++t) {
    sum += log_rank[static_cast<size_t>(routing.logit_of(static_cast<size_t>(t * routing.topk)))];
  }
  // The range follows from Bernstein's inequality for the mean of T independent values ln(rank) in [0, ln L].
  const double num = static_cast<double>(routing.num_tokens), miss = std::log(2 / kMissProbability);
  const Moments asked = log_rank_moments(num_logits, options.zipf_exponent);
  const double deviation = std::sqrt(2 * asked.variance * miss / num) +
                           std::log(static_cast<double>(num_logits)) * 2 * miss / (3 * num);
  const auto fitted = [&](double mean) { return fitted_exponent(num_logits, mean); };
  return {"zipf_exponent", options.zipf_exponent, fitted(sum / num), fitted(asked.mean + deviation),
          fitted(asked.mean - deviation)};
}

SkewProperty hot_property(const DistributionOptions& options, const Routing& routing, uint32_t seed) {
  const std::vector<int64_t> load = logit_load(routing);
  int64_t hot = 0;
  for (const int32_t e : hot_experts(options, routing.num_logits(), seed, routing.num_zero_experts))
    hot += load[static_cast<size_t>(e)];
  const double assignments = static_cast<double>(routing.expert.size());
  const double one = 1 / assignments;
  return {"hot_share", options.hot_share, static_cast<double>(hot) / assignments, options.hot_share - one,
          options.hot_share + one};
}

SkewProperty spread_property(const std::string& name, const std::vector<int64_t>& load, double most) {
  const auto [min, max] = std::minmax_element(load.begin(), load.end());
  return {name, 0, static_cast<double>(*max - *min), 0, most};
}

// W4 keeps half of the tokens, or one fewer because of rounding down.
SkewProperty there_property(const Routing& routing) {
  const double num = static_cast<double>(routing.expert.size());
  const double there = 1 - static_cast<double>(num_unassigned(routing) - num_zero_choices(routing)) / num;
  return {"tokens_there", 0.5, there, 0.5 - routing.topk / num, 0.5};
}

}  // namespace

std::vector<SkewProperty> skew_properties(const DistributionOptions& options, const Routing& routing,
                                          uint32_t seed) {
  MOEHILL_CHECK(routing.num_tokens >= 1, "skew of {} tokens", routing.num_tokens);
  switch (options.kind) {
    case Distribution::random:
    case Distribution::runs:
      return {};
    case Distribution::zipf:
      return {zipf_property(options, routing, seed)};
    case Distribution::hot_experts:
    case Distribution::hot_device:
      return {hot_property(options, routing, seed)};
    case Distribution::workload:
      if (is_ragged(options)) return {there_property(routing)};
      if (options.workload != 0) return {};
      return {spread_property("expert_load_spread", expert_load(routing), 1)};
    case Distribution::k_hot:
    case Distribution::dirichlet:
    case Distribution::drift:
    case Distribution::trace:
      return {};
    case Distribution::balanced:
      break;
  }
  const std::vector<int64_t> load = expert_load(routing);
  return {spread_property("expert_load_spread", load, 1),
          spread_property("device_load_spread", device_load(load, options.devices),
                          static_cast<double>(routing.num_experts) / options.devices)};
}

void require_properties(const DistributionOptions& options, const Routing& routing, uint32_t seed) {
  for (const SkewProperty& p : skew_properties(options, routing, seed)) {
    if (p.met()) continue;
    throw input_error("--distribution " + to_string(options), fmt::format("{} {:.6g}", p.name, p.achieved),
                      fmt::format("{:.6g} to {:.6g}", p.lo, p.hi), "try another --seed or more --tokens");
  }
}

}  // namespace moehill
