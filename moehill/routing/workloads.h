// Workloads: which experts are popular, and which of them a token's choices are confined to.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/distribution_options.h"

namespace moehill {

// Every expert once, in an order of the seed alone: the most popular of `zipf` first, the hot ones first.
std::vector<int32_t> expert_order(int num_experts, uint32_t seed);

// zipf, dirichlet, drift: ln of each expert's popularity, up to a constant. Empty for the others.
// zipf:s has -s ln(rank + 1), by expert_order(). dirichlet:a has independent gamma variates of shape a, whose
// shares are Dirichlet(a, .., a). drift:a,n,s goes from one such draw to the next in n steps, by a straight
// line in the logarithms: at step s it is at s / n.
std::vector<double> log_popularity(const DistributionOptions& options, int num_experts, uint32_t seed);

// k-hot and W0 to W7: which experts a favoured token chooses from. A token that is not chooses from all.
// Empty for W0, whose tokens have experts of their own, and for other kinds.
std::vector<char> favoured_experts(const DistributionOptions& options, int num_experts, int topk,
                                   uint32_t seed);
bool is_favoured(const DistributionOptions& options, int64_t token);

// The seed of the tokens of a step: another step has other tokens.
uint32_t seed_of_step(const DistributionOptions& options, uint32_t seed);

}  // namespace moehill
