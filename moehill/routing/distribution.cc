// Distributions of router logits: `random` and `runs`.
#include "moehill/routing/distribution.h"

#include <algorithm>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/rng.h"

namespace moehill {
namespace {

constexpr float kRunLogit = 6;

void check_options(const DistributionOptions& options) {
  if (!(options.run_alpha >= 0 && options.run_alpha <= 1)) {
    throw input_error("--run-alpha", fmt::format("{}", options.run_alpha), "0 to 1",
                      "0.98 gives runs of 50 tokens");
  }
  if (!(options.run_noise_scale >= 0) || std::isinf(options.run_noise_scale)) {
    throw input_error("--run-noise-scale", fmt::format("{}", options.run_noise_scale), "0 or more",
                      "try 0.35");
  }
}

std::vector<float> normal_logits(double scale, int64_t num_tokens, int num_experts, uint32_t seed) {
  std::vector<float> logits(static_cast<size_t>(num_tokens) * static_cast<size_t>(num_experts));
  for (size_t i = 0; i < logits.size(); ++i) {
    logits[i] = static_cast<float>(scale * random_normal(seed, Stream::kLogits, i));
  }
  return logits;
}

// Geometric on 1, 2, ... with mean 1 / p, by inversion of u in (0, 1).
int64_t geometric(double u, double p) {
  return 1 + static_cast<int64_t>(std::floor(std::log(u) / std::log1p(-p)));
}

// One of the least loaded experts, not `previous` if there is a choice. `u` in (0, 1) draws among them.
int draw_expert(const std::vector<int64_t>& load, int previous, double u) {
  const int64_t least = *std::min_element(load.begin(), load.end());
  const auto num_least = std::count(load.begin(), load.end(), least);
  const bool skips_previous = num_least > 1 && previous >= 0 && load[static_cast<size_t>(previous)] == least;
  auto left = static_cast<int64_t>(u * static_cast<double>(num_least - skips_previous));
  int expert = 0;
  for (;; ++expert) {
    const bool is_candidate =
        load[static_cast<size_t>(expert)] == least && !(skips_previous && expert == previous);
    if (is_candidate && left-- == 0) return expert;
  }
}

void add_runs(double alpha, int64_t num_tokens, int num_experts, uint32_t seed, std::vector<float>& logits) {
  const double p = std::clamp(1 / std::max(2.0, 1 / (1 - alpha)), 0.01, 0.9);
  std::vector<int64_t> load(static_cast<size_t>(num_experts), 0);
  int expert = -1;
  uint64_t run = 0;
  for (int64_t t = 0; t < num_tokens; ++run) {
    expert = draw_expert(load, expert, random_uniform(seed, Stream::kRunExperts, run));
    const int64_t length =
        std::min(num_tokens - t, geometric(random_uniform(seed, Stream::kRunLengths, run), p));
    load[static_cast<size_t>(expert)] += length;
    for (const int64_t end = t + length; t < end; ++t) {
      logits[static_cast<size_t>(t * num_experts + expert)] += kRunLogit;
    }
  }
}

}  // namespace

std::vector<float> make_logits(const DistributionOptions& options, int64_t num_tokens, int num_experts,
                               uint32_t seed) {
  MOEHILL_CHECK(num_tokens >= 0 && num_experts >= 1, "logits of {} tokens x {} experts", num_tokens,
                num_experts);
  if (options.kind == Distribution::random) return normal_logits(1, num_tokens, num_experts, seed);
  check_options(options);
  std::vector<float> logits = normal_logits(options.run_noise_scale, num_tokens, num_experts, seed);
  add_runs(options.run_alpha, num_tokens, num_experts, seed, logits);
  return logits;
}

}  // namespace moehill
