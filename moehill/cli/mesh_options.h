// The options of `moehill mesh`, declared once.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/collectives/mesh_options.h"

namespace moehill {

// Parses and refuses contradictions by InputError. Returns nothing when help was printed.
std::optional<MeshOptions> parse_mesh_options(const std::vector<std::string>& args);

}  // namespace moehill
