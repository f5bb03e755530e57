// Auxiliary losses of a router: their values, and their gradients of the logits.
//
// All are of softmax scores s over all E experts, with n_e the choices of expert e and T the tokens of a
// window; assignments of nobody count nowhere. Choices have no gradient.
//   balance   E / (k T) sum_e n_e m_e, m_e the mean of s_e: GShard's and Switch's auxiliary loss; 1 for
//             equal loads or equal scores. With all tokens of the step for a window it is the global one.
//   sequence  the same with each sequence for a window, the mean over sequences: DeepSeek's.
//   z         mean of (ln sum_e exp z_e)^2: ST-MoE's.
//
// The gradient of a token depends on its own logits and on n, which are integers. So it is the same to the
// bit however the tokens are spread over devices or threads.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/routing/plan.h"

namespace moehill {

// Each loss is multiplied by its factor; a loss with factor 0 is left out.
struct BalanceLoss {
  double balance = 0, sequence = 0, z = 0;
  int64_t sequence_tokens = 0;  // T of a sequence; it divides the tokens
};

// The sum of the losses, in double. logits [T, E]. Throws InputError for sequences that do not divide the
// tokens.
double balance_loss(const BalanceLoss& loss, const float* logits, const Routing& routing);

// Adds the gradients of the logits of these tokens to their rows of dlogits [T, E]. n is counted over the
// whole routing, which every device has.
void add_balance_gradient(const BalanceLoss& loss, const float* logits, const Routing& routing, Range tokens,
                          float* dlogits);

}  // namespace moehill
