// Presets: the MoE block of known models by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/cli/option_set.h"

namespace moehill {

struct Preset {
  std::string name;
  int64_t hidden, mlp_dim;
  int experts, topk;
  int64_t shared_dim;
};

// hidden_size, moe_intermediate_size, number of routed experts, experts per token, and the total width of the
// shared experts of each model's published config.json.
const std::vector<Preset>& presets();

void declare_preset(OptionSet& set, std::string* preset);

// The shape of the preset that `o` names, but for what was given by its own option.
template <typename Options>
void apply_preset(const OptionSet& set, Options& o) {
  for (const Preset& preset : presets()) {
    if (preset.name != o.preset) continue;
    if (!set.given("--hidden")) o.shape.hidden = preset.hidden;
    if (!set.given("--mlp-dim")) o.shape.mlp_dim = preset.mlp_dim;
    if (!set.given("--experts")) o.shape.experts = preset.experts;
    if (!set.given("--topk")) o.shape.topk = preset.topk;
    if (!set.given("--shared-expert-dim")) o.shape.shared_dim = preset.shared_dim;
  }
}

}  // namespace moehill
