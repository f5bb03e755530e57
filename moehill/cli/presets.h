// Presets: the MoE block of known models by name.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

struct Preset {
  std::string name;
  int64_t hidden, mlp_dim, experts, topk, shared_dim;
};

// hidden_size, moe_intermediate_size, number of routed experts, experts per token, and the total width of the
// shared experts of each model's published config.json.
const std::vector<Preset>& presets();

}  // namespace moehill
