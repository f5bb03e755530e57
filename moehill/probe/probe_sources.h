// Adds comments to a hardware file that a probe writes: each says where the figure on its line comes from. So
// a reader of the file can repeat the measurement.
//
//     with_sources("[costs]\nbarrier_s = 1.2e-06\n");   // adds "  # 2000 barriers of all cores"
#pragma once

#include <string>

namespace moehill {

// `toml` is made by hardware_toml(). A figure without a source here is a failed check.
std::string with_sources(const std::string& toml);

}  // namespace moehill
