// This header has the auxiliary losses of a router, which punish unequal loads: their values, and their
// gradients with respect to the logits. update_bias() balances without a loss. Nothing here changes the
// choices of the current step.
//
// All losses use the softmax scores s over all E experts. n_e is the number of choices of expert e, and T the
// number of tokens of a window; choices without an expert do not count. Choices have no gradient.
//   balance   E / (k T) sum_e n_e m_e, where m_e is the mean of s_e: the auxiliary loss of GShard and Switch.
//             It is 1 for equal loads or equal scores. Its window is all tokens of the step.
//   sequence  like `balance`, but each sequence is a window, and the mean is over the sequences: DeepSeek's.
//   z         mean of (ln sum_e exp z_e)^2: ST-MoE's.
//
// The gradient of a token depends only on its own logits and on n. The counts n are integers, so their sum is
// the same in any order, even in f32. Therefore the gradient has the same bits however tokens are spread over
// devices or threads.
//
//   const BalanceLoss loss = parse_balance_loss("balance=0.01,z=0.001");
//   count_choices(loss, routing, own_tokens, counts);   // then an all-reduce over the devices
//   add_balance_gradient({loss, logits, routing, counts, dlogits}, own_tokens, team);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/routing/plan.h"

namespace moehill {

// BalanceLoss has the factor of each loss; a loss with factor 0 is left out.
struct BalanceLoss {
  double balance = 0, sequence = 0, z = 0;
  int64_t sequence_tokens = 0;  // tokens of a sequence; it must divide the number of tokens
  bool empty() const { return balance == 0 && sequence == 0 && z == 0; }
  bool operator==(const BalanceLoss&) const = default;
};
inline constexpr const char* kBalanceLossForms = "balance=F|sequence=F:TOKENS|z=F, joined by commas";
// Reads one of kBalanceLossForms, or "none". Throws InputError that names --balance-loss.
BalanceLoss parse_balance_loss(const std::string& text);
// Returns the text that parse_balance_loss() reads; "none" if no loss is on.
std::string to_string(const BalanceLoss& loss);

// Throws InputError if sequences do not divide the number of tokens.
void refuse_impossible(const BalanceLoss& loss, int64_t num_tokens);

// Returns the number of windows: one for the balance loss, if it is on, and one for each sequence. Counts are
// stored as [windows, E]. They are in f32 so that devices can add theirs up by an all-reduce; below 2^24 that
// is exact.
int64_t num_windows(const BalanceLoss& loss, int64_t num_tokens);
// Writes the counts of the choices of these tokens, for all windows.
void count_choices(const BalanceLoss& loss, const Routing& routing, Range tokens, float* counts);

// BalanceGradient has the operands of add_balance_gradient(). logits and dlogits are [T, E].
struct BalanceGradient {
  const BalanceLoss& loss;
  const float* logits;
  const Routing& routing;  // only its sizes are used
  const float* counts;     // counts of all tokens, summed over the devices
  float* dlogits;
};
// Adds the gradient of the losses to the rows of these tokens. It computes in double and rounds once. It
// allocates nothing.
void add_balance_gradient(const BalanceGradient& gradient, Range tokens, ThreadTeam& team);

// These two are the reference for tests, computed in double and without the functions above: these tokens'
// part of the losses (which are sums over tokens), and their rows of the gradient, [tokens, E]. Both read
// only the logits of these tokens.
double balance_loss(const BalanceLoss& loss, const float* logits, const Routing& routing, Range tokens);
std::vector<double> balance_gradient(const BalanceLoss& loss, const float* logits, const Routing& routing,
                                     Range tokens);
// Returns these tokens' part of each loss that is on, by name and without its factor, and then "sum", the sum
// with the factors.
std::vector<std::pair<std::string, double>> loss_values(const BalanceLoss& loss, const float* logits,
                                                        const Routing& routing, Range tokens);

// Balances without a loss, as DeepSeek-V3 does: adds `rate` to the selection bias of an expert with less than
// the mean load, and subtracts it from the bias of an expert with more.
void update_bias(const std::vector<int64_t>& load, double rate, std::vector<float>& bias);

}  // namespace moehill
