// This header declares the options of `moehill mesh`, each once.
//
//     parse_mesh_options({"-b", "64K", "-e", "16M"})->max_bytes;   // 16777216
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/collectives/mesh_options.h"

namespace moehill {

// Parses the options and throws InputError for contradictions. Returns nothing if help was printed.
std::optional<MeshOptions> parse_mesh_options(const std::vector<std::string>& args);

}  // namespace moehill
