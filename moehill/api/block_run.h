// make_block_run() makes a Run, a block that the harness can measure, over a BlockObject. Only
// api/measuring.cc calls it, after it has made the parts; the harness uses RunFactory.
//
//     std::unique_ptr<Run> run = make_block_run({config, session, context, weights, tokens, routed, seed});
#pragma once

#include <memory>
#include <vector>

#include "moehill/api/context.h"
#include "moehill/api/measuring.h"
#include "moehill/parallel/operands.h"
#include "moehill/routing/router.h"

namespace moehill {

// Routed is a routing with the router and the logits that made it. These are kept only if something needs
// them again: a step that routes, the gradient of the logits, or the check of the router.
struct Routed {
  std::shared_ptr<const Routing> routing;
  std::shared_ptr<const Router> router;              // null: not needed again
  std::shared_ptr<const std::vector<float>> logits;  // [tokens, L], if the router is there
  Range tokens{};                                    // the tokens whose logits are here

  // Returns the logits [T, L], of which there is memory for `tokens` only; null if they are not kept.
  const float* all_logits() const {
    if (logits == nullptr) return nullptr;
    const int64_t row_bytes = routing->num_logits() * static_cast<int64_t>(sizeof(float));
    return static_cast<const float*>(before(logits->data(), tokens.begin, row_bytes));
  }
};

// RunParts are everything that a run holds for longer than a step.
struct RunParts {
  RunConfig config;
  Session* session = nullptr;
  std::shared_ptr<Context> context;         // null if this process has no device
  std::shared_ptr<WeightOperands> weights;  // null without a context
  std::shared_ptr<TokenOperands> tokens;    // null without a context
  Routed routed;
  uint32_t seed = 0;                    // makes x
  std::shared_ptr<LayerWeights> layer;  // has the weights; null: they are made from the seed
};

// Collective.
std::unique_ptr<Run> make_block_run(RunParts parts);

}  // namespace moehill
