// LatentMemory owns the rows of a step around experts whose width H' is not the model's: z, r, n and their
// gradients (latent_path.cc has the formulas). It computes nothing.
//
//     LatentMemory memory(config, held);
//     inputs.latent = memory.views(config.shape.tokens, held.begin);
#pragma once

#include "moehill/parallel/operands.h"

namespace moehill {

// The rows are [held tokens, H']. All devices of a process share them and read each other's rows. If experts
// have the model's width, there is no memory.
class LatentMemory {
 public:
  LatentMemory() = default;
  // Makes memory for a step of config.shape.tokens. `held` are the tokens for which this process has memory.
  LatentMemory(const RunConfig& config, Range held);
  // Returns views as if the rows of all `tokens` were here. The first row that is here has number `first`.
  // Only rows that are held may be read.
  LatentRows views(int64_t tokens, int64_t first) const;
  static double bytes(const RunConfig& config, int64_t held_tokens);

 private:
  Matrix z_, r_, n_, dn_, dr_, dz_;
};

}  // namespace moehill
