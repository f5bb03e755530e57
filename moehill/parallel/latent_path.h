// LatentMemory owns the rows of a step around experts of another width H' than the model's: z, r, n and their
// gradients (latent_path.cc has the formulas). It computes nothing.
//
//     LatentMemory memory(config, held);
//     inputs.latent = memory.views(config.shape.tokens, held.begin);
#pragma once

#include "moehill/parallel/operands.h"

namespace moehill {

// The rows are [held tokens, H'], for all devices of a process, which read each other's. If experts have the
// model's width, there is no memory.
class LatentMemory {
 public:
  LatentMemory() = default;
  // For a step of config.shape.tokens. `held` are the tokens that this process has memory for.
  LatentMemory(const RunConfig& config, Range held);
  // Returns views as if the rows of all `tokens` were here; the first one that is has number `first`. Only
  // rows that are held may be read.
  LatentRows views(int64_t tokens, int64_t first) const;
  static double bytes(const RunConfig& config, int64_t held_tokens);

 private:
  Matrix z_, r_, n_, dn_, dr_, dz_;
};

}  // namespace moehill
