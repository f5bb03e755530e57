#include "moehill/block/run_config.h"

#include "moehill/base/error.h"

namespace moehill {

namespace {

// Refuses what experts of another width than the model's do not support.
void refuse_with_latent(const RunConfig& config) {
  const auto refuse = [](bool broken, const std::string& option, const std::string& got,
                         const std::string& allowed) {
    if (broken) throw input_error(option, got + " with --expert-form latent", allowed, "choose one of these");
  };
  const Spread spread = config.spread;
  refuse(spread == Spread::dp, "--parallel-mode", "dp",
         "none, or ep by ring_ag_rs, ragged_a2a, fused or hierarchical");
  refuse(is_psum(spread), "--ep-path", name_of(spread), "ring_ag_rs, ragged_a2a, fused or hierarchical");
  refuse(config.block.prequeue, "--queue-mode", "prequeue", "full, since rows are made in the step");
  refuse(config.block.part != StepPart::whole, "--overlap", "it", "bench without it");
  refuse(config.shape.router.zero_experts > 0, "--router", "zero", "routers without zero experts");
}

// Refuses a wire form if no row would ever travel in it.
void refuse_useless_wire(const RunConfig& config) {
  const auto refuse = [&](bool broken, const std::string& got, const std::string& allowed,
                          const std::string& remedy) {
    if (broken) throw input_error("--wire", name_of(config.wire) + got, allowed, remedy);
  };
  refuse(!routes_rows(config), std::string(" with ") + name_of(config.spread),
         "it with --ep-path ragged_a2a, fused or hierarchical, which send rows of tokens",
         "choose one of these, or leave it out");
  refuse(config.ranks_per_node == 0 || config.ranks_per_node >= config.num_devices, " on one node",
         "several nodes, between which rows go", "add --nodes, or leave it out");
  refuse(config.wire == Wire::bf16 && config.shape.dtype == DType::bf16, " with --dtype bf16",
         "fp8+scales, since rows are bf16 as they are", "choose it, or leave it out");
}

}  // namespace

void refuse_unbuilt(const RunConfig& config) {
  if (config.wire != Wire::native) refuse_useless_wire(config);
  if (config.shape.router.zero_experts > 0 && !config.block.balance_loss.empty()) {
    throw input_error("--balance-loss", "it with --router zero, whose choices are no experts to balance",
                      "routers without zero experts", "leave one of the two out");
  }
  if (config.shape.form.latent > 0) refuse_with_latent(config);
  if (!config.shape.router.input_weighted) return;
  if (has_preweight(config.block.impl)) {
    throw input_error("--impl", std::string(name_of(config.block.impl)) + " with an input-weighted router",
                      "baseline, fused_w13, scatter or fast, since gate values multiply the inputs already",
                      "choose one of these");
  }
  if (config.shape.form.biases) {
    throw input_error("--expert-form", "biases with an input-weighted router, which is not supported",
                      "biases where gate values multiply outputs", "leave one of the two out");
  }
}

}  // namespace moehill
