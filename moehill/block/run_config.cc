#include "moehill/block/run_config.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <string>
#include <vector>

#include "moehill/base/error.h"

namespace moehill {

namespace {

// Names the paths of ep that are allowed: "ragged_a2a, fused or hierarchical".
std::string allowed_paths(bool (*is_allowed)(Spread)) {
  std::vector<std::string> names;
  for (const Spread path : kEpPaths)
    if (is_allowed(path)) names.emplace_back(name_of(path));
  const std::string last = names.back();
  names.pop_back();
  return fmt::format("{} or {}", fmt::join(names, ", "), last);
}

// Refuses options that experts of another width than the model's do not support.
void refuse_with_latent(const RunConfig& config) {
  const auto refuse = [](bool broken, const std::string& option, const std::string& got,
                         const std::string& allowed) {
    if (broken) throw input_error(option, got + " with --expert-form latent", allowed, "choose one of these");
  };
  const Spread spread = config.spread;
  refuse(spread == Spread::dp, "--parallel-mode", "dp", "none, or ep by " + allowed_paths(moves_rows));
  refuse(is_psum(spread), "--ep-path", name_of(spread), allowed_paths(moves_rows));
  refuse(config.block.prequeue, "--queue-mode", "prequeue", "full, since rows are made in the step");
  if (config.block.part != StepPart::whole)
    throw usage_error("--overlap cannot be used with --expert-form latent", "leave one of the two out");
  if (config.shape.router.zero_experts > 0)
    throw usage_error("--router zero cannot be used with --expert-form latent", "leave one of the two out");
}

// Refuses a wire form if no row would ever travel in it.
void refuse_useless_wire(const RunConfig& config) {
  const auto refuse = [&](bool broken, const std::string& got, const std::string& allowed,
                          const std::string& remedy) {
    if (broken) throw input_error("--wire", name_of(config.wire) + got, allowed, remedy);
  };
  refuse(!routes_rows(config), std::string(" with ") + name_of(config.spread),
         "--ep-path " + allowed_paths(routes_rows) + ", which send rows of tokens",
         "choose one of these, or leave it out");
  refuse(config.ranks_per_node == 0 || config.ranks_per_node >= config.num_devices, " on one node",
         "several nodes, between which rows go", "add --nodes, or leave it out");
  refuse(config.wire == Wire::bf16 && config.shape.dtype == DType::bf16, " with --dtype bf16",
         "fp8+scales, since rows are bf16 already", "choose it, or leave it out");
}

}  // namespace

void refuse_unbuilt(const RunConfig& config) {
  if (config.wire != Wire::native) refuse_useless_wire(config);
  if (config.shape.router.zero_experts > 0 && !config.block.balance_loss.empty()) {
    throw usage_error(
        "--balance-loss cannot be used with --router zero, whose choices are no experts to balance",
        "leave one of the two out");
  }
  if (config.shape.form.latent > 0) refuse_with_latent(config);
  if (!config.shape.router.input_weighted) return;
  if (has_preweight(config.block.impl)) {
    throw usage_error(fmt::format("--impl {} cannot be used with an input-weighted router, whose gate values "
                                  "multiply the inputs already",
                                  name_of(config.block.impl)),
                      "use --impl baseline, fused_w13, scatter or fast");
  }
  if (config.shape.form.biases) {
    throw usage_error(
        "--expert-form: biases cannot be used with an input-weighted router: gate values multiply its "
        "inputs, not its outputs",
        "leave one of the two out");
  }
}

}  // namespace moehill
