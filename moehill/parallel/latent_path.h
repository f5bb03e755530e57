// Latent rows: the memory of a step's rows around experts of another width H' than the model's.
#pragma once

#include "moehill/parallel/operands.h"

namespace moehill {

// The rows [held tokens, H'] of all devices of a process, which read each other's; nothing where experts are
// of the model's width.
class LatentMemory {
 public:
  LatentMemory() = default;
  // of config.shape.tokens; `held`: those that there is memory for.
  LatentMemory(const RunConfig& config, Range held);
  // Returns views as if the rows of all `tokens` were here; the first that is here has number `first`.
  LatentRows views(int64_t tokens, int64_t first) const;
  static double bytes(const RunConfig& config, int64_t held_tokens);

 private:
  Matrix z_, r_, n_, dn_, dr_, dz_;
};

}  // namespace moehill
