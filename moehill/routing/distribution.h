// Distributions of router logits: `random` and `runs`, as the reference logbook has them.
#pragma once

#include <cstdint>
#include <vector>

namespace moehill {

enum class Distribution { random, runs };

struct DistributionOptions {
  Distribution kind = Distribution::random;
  double run_alpha = 0.98;        // run lengths are geometric with p = clamp(1 / max(2, 1 / (1 - alpha)), 0.01, 0.9)
  double run_noise_scale = 0.35;  // standard deviation of the logits below the +6 of the run's expert
};

// Logits [T, E] of (seed, options) alone.
std::vector<float> make_logits(const DistributionOptions& options, int64_t num_tokens, int num_experts, uint32_t seed);

}  // namespace moehill
