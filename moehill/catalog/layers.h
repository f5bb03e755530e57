// This header finds out which layers of a model have experts. Configurations say it in several ways. It says
// nothing of what these experts are (catalog/model_block.h).
//
//   const std::vector<bool> with = layers_with_experts(keys);   // DeepSeek-V3: 3 times false, then true
#pragma once

#include <vector>

#include "moehill/catalog/config_keys.h"

namespace moehill {

// Returns one value for each layer. Throws InputError if the keys contradict each other or say nothing.
std::vector<bool> layers_with_experts(const ConfigKeys& keys);

}  // namespace moehill
