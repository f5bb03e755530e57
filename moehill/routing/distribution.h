// Distributions of router logits: `random` and `runs`, as the reference logbook has them.
#pragma once

#include <cstdint>
#include <vector>

namespace moehill {

enum class Distribution { random, runs };

struct DistributionOptions {
  Distribution kind = Distribution::random;
  double run_alpha =
      0.98;  // run lengths are geometric with p = clamp(1 / max(2, 1 / (1 - alpha)), 0.01, 0.9)
  double run_noise_scale = 0.35;  // standard deviation of the logits below the +6 of the run's expert
};

// Logits [T, E] of (seed, options) alone.
//
// random: N(0, 1). runs: stretches of tokens that prefer one expert by +6 over N(0, run_noise_scale). A run's
// expert is drawn from those with the fewest tokens so far, without the previous run's expert unless it is
// the only one of them. Throws InputError for run_alpha outside [0, 1] and for a negative noise scale.
std::vector<float> make_logits(const DistributionOptions& options, int64_t num_tokens, int num_experts,
                               uint32_t seed);

}  // namespace moehill
