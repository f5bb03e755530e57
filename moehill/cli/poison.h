// Poison: NaN in every result before a step, so that a value which the step forgets cannot pass for one of an
// earlier run.
#pragma once

#include "moehill/moe/tensors.h"

namespace moehill {

// y and, with a backward pass, dx and the gradients of all weights. (dp and dlogits are only readable from
// outside.)
void poison_results(const BlockTensors& tensors, Pass pass, ThreadTeam& team);

}  // namespace moehill
