// A run over a block of the interface: what measuring.cc brings together for it.
#pragma once

#include <memory>
#include <vector>

#include "moehill/api/context.h"
#include "moehill/api/measuring.h"
#include "moehill/parallel/operands.h"
#include "moehill/routing/router.h"

namespace moehill {

// A routing, and what made it where somebody asks again: the step, the gradient of the logits, or the check
// of a router that is not the contract's.
struct Routed {
  std::shared_ptr<const Routing> routing;
  std::shared_ptr<const Router> router;              // null: nobody asks
  std::shared_ptr<const std::vector<float>> logits;  // [tokens, L] with it
  Range tokens{};                                    // whose logits are here

  // [T, L], of which there is memory for `tokens`; null: nobody asks.
  const float* all_logits() const {
    if (logits == nullptr) return nullptr;
    const int64_t row_bytes = routing->num_logits() * static_cast<int64_t>(sizeof(float));
    return static_cast<const float*>(before(logits->data(), tokens.begin, row_bytes));
  }
};

// Everything a run holds for longer than a step.
struct RunParts {
  RunConfig config;
  Session* session = nullptr;
  std::shared_ptr<Context> context;         // null where this process has no device
  std::shared_ptr<WeightOperands> weights;  // null without a context
  std::shared_ptr<TokenOperands> tokens;    // likewise
  Routed routed;
  uint32_t seed = 0;  // of x
};

// Collective.
std::unique_ptr<Run> make_block_run(RunParts parts);

}  // namespace moehill
