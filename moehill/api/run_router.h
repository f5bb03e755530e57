// RunRouter is the part of the router that belongs to the measured step: the product that makes the logits,
// the choices, the gradient of the logits, and the loss that balances experts. Choices that are made before
// the clock starts are in api/block_run.h (Routed).
//
//     RunRouter router(config, routed, tokens_held, local_devices, weights);
//     if (router.is_in_step()) router.route(group, x);            // on each device, before its plan
//     router.backward(group, path, x, dp, listener);              // after path.backward()
#pragma once

#include <memory>
#include <optional>
#include <vector>

#include "moehill/api/block_run.h"
#include "moehill/parallel/path.h"
#include "moehill/parallel/router_product.h"
#include "moehill/parallel/step_router.h"

namespace moehill {

class RunRouter {
 public:
  // `tokens` are those that the process holds, `local` its devices. The references have to live as long as
  // this object; `weights` is null without a device.
  RunRouter(const RunConfig& config, const Routed& routed, Range tokens, Range local,
            const WeightOperands* weights);

  // Each device calls these with its group. They work on the rows of its own tokens in x and dp [T, ...], of
  // which there is memory for the tokens held.
  bool is_in_step() const { return step_ != nullptr; }
  void route(Group& group, const MatView& x);
  void backward(Group& group, ParallelPath& path, const MatView& x, const float* dp, StageListener* listener);
  // Overwrites what the next step has to make itself.
  void poison(int rank, const MemoryVisitor& fill);
  // Visits what the step has made for the tokens of a device: choices, gate values and logits. No result of a
  // forward pass shows the logits of experts that nobody chose. Visits nothing without a router in the step.
  void visit_made(int rank, const MemoryVisitor& visit);

  // Reads the logits of `routed` again, after they were replaced.
  void read_logits();
  const float* logits() const { return step_ ? step_->logits() : routed_.all_logits(); }
  // Returns the routing that the last step made, or the one made before the clock.
  const Routing& routing() const { return step_ ? step_->routing() : *routed_.routing; }
  // Returns the gradient [T, L], as if there were memory for all tokens; null if nobody wants it.
  float* dlogits() const;

 private:
  void add_loss(Group& group, ParallelPath& path);

  const RunConfig& config_;
  const Routed& routed_;
  const Range tokens_, local_;
  std::unique_ptr<StepRouter> step_;  // null: the routing is made before the clock starts
  std::optional<RouterProducts> products_;
  std::vector<float> dlogits_;              // for the tokens held
  std::vector<std::vector<float>> counts_;  // [local device] choices by window and expert
};

}  // namespace moehill
