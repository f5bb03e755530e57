// Auxiliary losses of a router: their values, and their gradients of the logits.
//
// All are of softmax scores s over all E experts, with n_e the choices of expert e and T the tokens of a
// window; assignments of nobody count nowhere. Choices have no gradient.
//   balance   E / (k T) sum_e n_e m_e, m_e the mean of s_e: GShard's and Switch's auxiliary loss; 1 for
//             equal loads or equal scores. Its window is all tokens of the step: it is the global one.
//   sequence  the same with each sequence for a window, the mean over sequences: DeepSeek's.
//   z         mean of (ln sum_e exp z_e)^2: ST-MoE's.
//
// The gradient of a token depends on its own logits and on n, which are integers: whoever adds these up, in
// f32 too, has the same ones. So it is the same to the bit however the tokens are spread over devices or
// threads.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/routing/plan.h"

namespace moehill {

// Each loss is multiplied by its factor; a loss with factor 0 is left out.
struct BalanceLoss {
  double balance = 0, sequence = 0, z = 0;
  int64_t sequence_tokens = 0;  // T of a sequence; it divides the tokens
  bool empty() const { return balance == 0 && sequence == 0 && z == 0; }
  bool operator==(const BalanceLoss&) const = default;
};
inline constexpr const char* kBalanceLossForms = "balance=F|sequence=F:TOKENS|z=F, joined by commas";
// Throws InputError in the name of --balance-loss.
BalanceLoss parse_balance_loss(const std::string& text);
std::string to_string(const BalanceLoss& loss);  // "none" of an empty one, which is parsed too

// Throws InputError for sequences that do not divide the tokens.
void refuse_impossible(const BalanceLoss& loss, int64_t num_tokens);

// Choices by window: all tokens if the balance loss is there, then the sequences. [windows, E], in f32 so
// that devices can add theirs up; below 2^24 it is exact.
int64_t num_windows(const BalanceLoss& loss, int64_t num_tokens);
// Writes all windows' counts of these tokens' choices.
void count_choices(const BalanceLoss& loss, const Routing& routing, Range tokens, float* counts);

// The gradient of logits [T, E], which is added to dlogits [T, E].
struct BalanceGradient {
  const BalanceLoss& loss;
  const float* logits;
  const Routing& routing;  // for its sizes
  const float* counts;     // of the whole routing
  float* dlogits;
};
// Adds to the rows of these tokens. In double, rounded once. Allocates nothing.
void add_balance_gradient(const BalanceGradient& gradient, Range tokens, ThreadTeam& team);

// Computes the same in double and apart from it, as a reference: these tokens' part of the value of the
// losses, which is a sum over tokens, and their rows of the gradient, [tokens, E]. Reads their logits alone.
double balance_loss(const BalanceLoss& loss, const float* logits, const Routing& routing, Range tokens);
std::vector<double> balance_gradient(const BalanceLoss& loss, const float* logits, const Routing& routing,
                                     Range tokens);
// Their part of each of the losses that are on, by its name and without its factor, then of "sum", with the
// factors.
std::vector<std::pair<std::string, double>> loss_values(const BalanceLoss& loss, const float* logits,
                                                        const Routing& routing, Range tokens);

// DeepSeek-V3's balancing without a loss: each expert's bias of the selection goes up by `rate` where it has
// less than the mean load, and down where it has more.
void update_bias(const std::vector<int64_t>& load, double rate, std::vector<float>& bias);

}  // namespace moehill
