// This header makes router logits with a known skew, for benchmarks without a model. `random` and `runs` are
// the distributions of the reference logbook. distribution_options.h has the parameters of the distributions
// and their text form. It does not route; router.h makes choices from the logits. A trace (trace.h) has
// choices and no logits.
//
//   const std::vector<float> logits = make_logits(options, num_tokens, num_experts, topk, seed);   // [T, E]
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/workloads.h"

namespace moehill {

// Returns the hot experts: the first ones of expert_order(), or the experts of device 0. Empty for
// distributions without hot experts. The last num_zero_experts of the num_experts are zero experts: they can
// be among the hot ones of expert_order(), and no device has them.
std::vector<int32_t> hot_experts(const DistributionOptions& options, int num_experts, uint32_t seed,
                                 int num_zero_experts = 0);

// LogitStream makes logits block by block, for routings whose logits would not fit into memory. They depend
// only on (seed, options). It takes all distributions except traces. Below, N is the normal and U the uniform
// random number of index i = t E + e. Where a router has zero experts, E counts them too.
//
// - random: N.
// - runs: stretches of tokens that prefer one expert by +6; the other logits are run_noise_scale N. The
//   expert of a run is drawn from the experts with the fewest tokens so far. It is not the expert of the last
//   run, unless that is the only candidate.
// - zipf: -s ln(rank + 1) - ln(-ln U). So the first choice is the expert of that rank with a probability
//   proportional to (rank + 1)^-s, and the k choices are draws without replacement (the Gumbel trick).
//   dirichlet and drift have log_popularity() in place of -s ln(rank + 1).
// - k_hot and W1 to W7: N, and + 12 on the favoured experts of a favoured token (workloads.h), so that its
//   choices are drawn from these. W0: + 12 on the experts (t k + j) mod E.
// - hot_*, balanced: k experts of each token are chosen beforehand. Their logits are N + 12, the others N
//   (|N| < 5.8). hot_*: token t takes round((t + 1) k f) - round(t k f) of its experts from the hot ones,
//   those with the largest N, and the rest in the same way from the others. balanced: experts are dealt from
//   a shuffled deck of all E experts; a new deck is used when it is empty. A card that the token already has
//   waits for the next token.
//
// Tokens of a later step use seed_of_step() as their seed.
class LogitStream {
 public:
  // Zero experts are counted among num_experts, as in hot_experts(). Throws the InputError of
  // refuse_impossible().
  LogitStream(const DistributionOptions& options, int num_experts, int topk, uint32_t seed,
              int num_zero_experts = 0);

  // Skips this many tokens without making their logits.
  void skip(int64_t num_tokens);
  // Makes the logits of the next tokens, [num_tokens, E].
  void next(int64_t num_tokens, std::vector<float>& logits);

 private:
  int preferred_expert();     // runs: the expert that this token prefers
  void deal(bool* chosen);    // balanced: marks this token's experts
  int64_t hot_count() const;  // hot_*: the number of this token's experts that are hot
  void shuffle_deck();
  void choose(float* logits);  // adds 12 to the logits of this token's chosen experts

  DistributionOptions options_;
  int num_experts_, topk_;
  uint32_t seed_;
  int64_t token_ = 0;
  std::vector<int64_t> load_;  // runs: tokens of each expert so far
  int run_expert_ = -1;
  int64_t run_left_ = 0;
  uint64_t run_ = 0;
  std::vector<double> log_popularity_;  // zipf, dirichlet, drift
  std::vector<char> is_favoured_;       // k_hot, W1 to W7
  std::vector<char> is_hot_;
  std::vector<int32_t> deck_;  // balanced: experts, of which those before deck_next_ have been dealt
  size_t deck_next_ = 0;
  uint64_t num_decks_ = 0;
};

// Returns the logits [T, E] of the first num_tokens tokens; num_zero_experts as for LogitStream.
std::vector<float> make_logits(const DistributionOptions& options, int64_t num_tokens, int num_experts,
                               int topk, uint32_t seed, int num_zero_experts = 0);

}  // namespace moehill
