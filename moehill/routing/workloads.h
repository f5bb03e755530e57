// This header says which experts are popular in a workload, and from which of them a token may choose. It
// makes no logits; distribution.h does, by these functions.
//
//   expert_order(num_experts, seed).front();   // the most popular expert of zipf
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/distribution_options.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Returns every expert once, in an order that depends only on the seed: the most popular one of `zipf` first,
// the hot ones first.
std::vector<int32_t> expert_order(int num_experts, uint32_t seed);

// Returns ln of the popularity of each expert, up to a constant, for zipf, dirichlet and drift; empty for
// other distributions.
//
// - zipf:s has -s ln(rank + 1), with the ranks of expert_order().
// - dirichlet:a has independent gamma variates of shape a, whose shares are Dirichlet(a, ..., a).
// - drift:a,n,s goes from one such draw to the next in n steps, linearly in the logarithms. At step s it has
//   gone s / n of the way.
std::vector<double> log_popularity(const DistributionOptions& options, int num_experts, uint32_t seed);

// Returns [E]: 1 for each expert from which a favoured token chooses, for k-hot and W1 to W7. Other tokens
// choose from all. It is empty for W0, whose tokens have experts of their own, for W4, whose tokens choose
// from all, and for other distributions.
std::vector<char> favoured_experts(const DistributionOptions& options, int num_experts, int topk,
                                   uint32_t seed);
// Returns true if the token chooses from the favoured experts.
bool is_favoured(const DistributionOptions& options, int64_t token);

// For W4, takes the experts away from the assignments of some tokens. Of the first t of T tokens, floor(t^2 /
// 2T) are kept: none at first, all at the end, half of them in total. So device d of P has (2 d + 1) / P of
// the mean load.
void leave_out_tokens(const DistributionOptions& options, Routing& routing);
// Returns how many of the first `first` of num_tokens tokens W4 keeps.
int64_t tokens_there(int64_t first, int64_t num_tokens);

// Returns the seed of the tokens of a step; each step has other tokens.
uint32_t seed_of_step(const DistributionOptions& options, uint32_t seed);

}  // namespace moehill
