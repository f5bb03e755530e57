// Distributions of router logits: `random` and `runs` as the reference logbook has them, and skewed ones.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/workloads.h"

namespace moehill {

// The experts that are hot: the first of expert_order(), or those of device 0. Empty for other kinds.
std::vector<int32_t> hot_experts(const DistributionOptions& options, int num_experts, uint32_t seed);

// Logits of (seed, options) alone, of all kinds but traces, a block of tokens at a time, for routings whose
// logits would not fit into memory. With N(i) the normal and U(i) the uniform number of index i = t E + e:
//
// random: N. runs: stretches of tokens that prefer one expert by +6 over run_noise_scale N. A run's expert is
// drawn from those with the fewest tokens so far, without the previous run's expert unless it is the only one
// of them. zipf: -s ln(rank + 1) - ln(-ln U), so that the first choice is an expert of that rank with a
// probability proportional to (rank + 1)^-s, and the k choices are draws without replacement; dirichlet and
// drift likewise, with log_popularity(). k_hot and W0 to W7: N, + 12 on the favoured experts of a favoured
// token (workloads.h), so that its choices are drawn from these; W0 has + 12 on the experts (t k + j) mod E.
// The tokens of a later step have the numbers of seed_of_step(). The others choose k experts of each token,
// whose logits are N + 12 while all others are N (|N| < 5.8): hot_*: token t takes round((t + 1) k f) -
// round(t k f) of its experts from the hot ones, those of largest N, and the rest likewise from the others.
// balanced: experts are dealt from shuffled decks of all E, a new one when the last is empty; a card that the
// token already has waits.
class LogitStream {
 public:
  // Throws InputError as refuse_impossible() does.
  LogitStream(const DistributionOptions& options, int num_experts, int topk, uint32_t seed);

  void skip(int64_t num_tokens);
  void next(int64_t num_tokens, std::vector<float>& logits);  // [num_tokens, E]

 private:
  int preferred_expert();     // runs: of this token
  void deal(bool* chosen);    // balanced: marks this token's experts
  int64_t hot_count() const;  // hot_*: how many of this token's experts are hot
  void shuffle_deck();
  void choose(float* logits);  // +12 on the chosen of this token

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
  std::vector<int32_t> deck_;  // balanced; dealt up to deck_next_
  size_t deck_next_ = 0;
  uint64_t num_decks_ = 0;
};

// Logits [T, E] from the first token on.
std::vector<float> make_logits(const DistributionOptions& options, int64_t num_tokens, int num_experts,
                               int topk, uint32_t seed);

}  // namespace moehill
