#include "moehill/block/run_config.h"

#include "moehill/base/error.h"

namespace moehill {

void refuse_unbuilt(const RunConfig& config) {
  if (config.shape.router.zero_experts > 0 && !config.block.balance_loss.empty()) {
    throw input_error("--balance-loss", "it with --router zero, whose choices are no experts to balance",
                      "routers without zero experts", "leave one of the two out");
  }
  refuse_unbuilt(config.shape.form);
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
