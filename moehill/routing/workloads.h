// Workloads: which experts are popular, and which of them a token's choices are confined to.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/distribution_options.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Every expert once, in an order of the seed alone: the most popular of `zipf` first, the hot ones first.
std::vector<int32_t> expert_order(int num_experts, uint32_t seed);

// zipf, dirichlet, drift: ln of each expert's popularity, up to a constant. Empty for the others.
// zipf:s has -s ln(rank + 1), by expert_order(). dirichlet:a has independent gamma variates of shape a, whose
// shares are Dirichlet(a, .., a). drift:a,n,s goes from one such draw to the next in n steps, by a straight
// line in the logarithms: at step s it is at s / n.
std::vector<double> log_popularity(const DistributionOptions& options, int num_experts, uint32_t seed);

// k-hot and W0 to W7: which experts a favoured token chooses from. A token that is not chooses from all.
// Empty for W0, whose tokens have experts of their own, for W4, whose tokens choose from all, and for others.
std::vector<char> favoured_experts(const DistributionOptions& options, int num_experts, int topk,
                                   uint32_t seed);
bool is_favoured(const DistributionOptions& options, int64_t token);

// W4: makes the assignments of tokens that are not there nobody's. Of the first t of T tokens floor(t^2 / 2T)
// are there: none at first, all at last, half of them together. So source d of P has (2 d + 1) / P of the
// mean, whatever P is.
void leave_out_tokens(const DistributionOptions& options, Routing& routing);
int64_t tokens_there(int64_t first, int64_t num_tokens);  // of the first `first` of so many

// The seed of the tokens of a step: another step has other tokens.
uint32_t seed_of_step(const DistributionOptions& options, uint32_t seed);

}  // namespace moehill
