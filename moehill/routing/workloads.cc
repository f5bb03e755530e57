// Implements workloads.h: popularities, favoured experts, and the tokens that W4 leaves out.
#include "moehill/routing/workloads.h"

#include <algorithm>
#include <cmath>
#include <numeric>

#include "moehill/base/rng.h"

namespace moehill {
namespace {

constexpr uint64_t kMostTries = 64;  // for one gamma variate; each try succeeds in 19 of 20 cases

// Returns ln of gamma variate number `index` of this shape, by Marsaglia and Tsang, "A simple method for
// generating gamma variables" (2000). For a shape below 1 it takes a variate of shape + 1 and multiplies it
// by a power of a uniform number.
double log_gamma_variate(double shape, uint32_t seed, uint64_t index) {
  double log_factor = 0;
  if (shape < 1) {
    log_factor = std::log(random_uniform(seed, Stream::kPopularity, index * kMostTries)) / shape;
    shape += 1;
  }
  const double d = shape - 1.0 / 3, c = 1 / std::sqrt(9 * d);
  for (uint64_t i = 1; i < kMostTries; ++i) {
    const double x = random_normal(seed, Stream::kGammaNormal, index * kMostTries + i);
    const double v = std::pow(1 + c * x, 3);
    if (v <= 0) continue;
    const double log_u = std::log(random_uniform(seed, Stream::kPopularity, index * kMostTries + i));
    if (log_u < x * x / 2 + d - d * v + d * std::log(v)) return log_factor + std::log(d * v);
  }
  return log_factor + std::log(d);  // the mode of d v; all 63 tries fail once in 10^80
}

double log_dirichlet(const DistributionOptions& options, int num_experts, uint32_t seed, int64_t draw,
                     int expert) {
  return log_gamma_variate(
      options.alpha, seed,
      static_cast<uint64_t>(draw) * static_cast<uint64_t>(num_experts) + static_cast<uint64_t>(expert));
}

std::vector<double> zipf_popularity(const DistributionOptions& options, int num_experts, uint32_t seed) {
  std::vector<double> popularity(static_cast<size_t>(num_experts));
  const std::vector<int32_t> order = expert_order(num_experts, seed);
  for (size_t rank = 0; rank < order.size(); ++rank) {
    popularity[static_cast<size_t>(order[rank])] =
        -options.zipf_exponent * std::log(static_cast<double>(rank + 1));
  }
  return popularity;
}

// Marks `width` experts from `begin` on. After the last expert it goes on with the first.
void favour(std::vector<char>& favoured, int64_t begin, int64_t width) {
  for (int64_t i = begin; i < begin + width; ++i)
    favoured[static_cast<size_t>(i % static_cast<int64_t>(favoured.size()))] = 1;
}

// The workloads are from benchmarks/moe/token_imbalance in Megatron-LM's pull request 7488.
std::vector<char> favoured_of_workload(const DistributionOptions& options, int num_experts, int topk) {
  if (options.workload == 0 || options.workload == 4) return {};
  std::vector<char> favoured(static_cast<size_t>(num_experts));
  const int64_t hot = std::max(topk, num_experts / 4);
  switch (options.workload) {
    case 3:
      for (int64_t i = 0; i < std::max(topk, num_experts / 2); ++i) favour(favoured, 2 * i, 1);
      if (std::count(favoured.begin(), favoured.end(), 1) < topk) favour(favoured, 0, num_experts);
      break;
    case 5:
      favour(favoured, num_experts / 2, num_experts - num_experts / 2);
      break;
    case 6:
      favour(favoured, options.step / 3 % num_experts * hot, hot);
      break;
    default:
      favour(favoured, 0, hot);
  }
  return favoured;
}

}  // namespace

std::vector<int32_t> expert_order(int num_experts, uint32_t seed) {
  std::vector<int32_t> order(static_cast<size_t>(num_experts));
  std::iota(order.begin(), order.end(), 0);
  for (size_t i = order.size(); i-- > 1;) {  // Fisher and Yates
    const double u = random_uniform(seed, Stream::kExpertOrder, i);
    std::swap(order[i], order[static_cast<size_t>(u * static_cast<double>(i + 1))]);
  }
  return order;
}

std::vector<double> log_popularity(const DistributionOptions& options, int num_experts, uint32_t seed) {
  if (options.kind == Distribution::zipf) return zipf_popularity(options, num_experts, seed);
  if (options.kind != Distribution::dirichlet && options.kind != Distribution::drift) return {};
  const int64_t draw = options.step / options.period;
  const double to_next =
      static_cast<double>(options.step % options.period) / static_cast<double>(options.period);
  std::vector<double> popularity(static_cast<size_t>(num_experts));
  for (int e = 0; e < num_experts; ++e) {
    double& ln = popularity[static_cast<size_t>(e)];
    ln = log_dirichlet(options, num_experts, seed, draw, e);
    if (to_next > 0) ln += to_next * (log_dirichlet(options, num_experts, seed, draw + 1, e) - ln);
  }
  return popularity;
}

std::vector<char> favoured_experts(const DistributionOptions& options, int num_experts, int topk,
                                   uint32_t seed) {
  if (options.kind == Distribution::workload) return favoured_of_workload(options, num_experts, topk);
  if (options.kind != Distribution::k_hot) return {};
  std::vector<char> favoured(static_cast<size_t>(num_experts));
  const std::vector<int32_t> order = expert_order(num_experts, seed);
  for (int64_t i = 0; i < options.num_hot; ++i) favour(favoured, order[static_cast<size_t>(i)], 1);
  return favoured;
}

bool is_favoured(const DistributionOptions& options, int64_t token) {
  if (options.kind == Distribution::k_hot) {
    const auto until = [&](int64_t t) { return std::llround(static_cast<double>(t) * options.hot_share); };
    return until(token + 1) > until(token);
  }
  if (options.workload == 5) return true;
  if (options.workload == 7) return options.step % 4 == 3 && token % 2 == 0;
  return token % 4 != 0;
}

int64_t tokens_there(int64_t first, int64_t num_tokens) { return first * first / (2 * num_tokens); }

void leave_out_tokens(const DistributionOptions& options, Routing& routing) {
  if (!is_ragged(options)) return;
  const int64_t num = routing.num_tokens, topk = routing.topk;
  for (int64_t t = 0; t < num; ++t) {
    if (tokens_there(t + 1, num) > tokens_there(t, num)) continue;
    std::fill_n(routing.expert.begin() + t * topk, topk, kNoExpert);
    std::fill_n(routing.weight.begin() + t * topk, topk, 0.0f);
    if (!routing.zero.empty()) std::fill_n(routing.zero.begin() + t * topk, topk, -1);
  }
}

uint32_t seed_of_step(const DistributionOptions& options, uint32_t seed) {
  if (options.step == 0) return seed;
  return threefry(seed, Stream::kSteps, static_cast<uint64_t>(options.step))[0];
}

}  // namespace moehill
