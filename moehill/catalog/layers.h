// Which layers of a model have experts, by the several ways in which configurations say it.
#pragma once

#include <vector>

#include "moehill/catalog/config_keys.h"

namespace moehill {

// One value a layer. Throws InputError where the keys contradict each other or say nothing.
std::vector<bool> layers_with_experts(const ConfigKeys& keys);

}  // namespace moehill
