// with_sources() adds comments to a hardware file that a probe writes. Each says where the figure on its line
// comes from, so that a reader of the file can repeat the measurement.
//
//     with_sources("[costs]\nbarrier_s = 1.2e-06\n");   // adds "  # 2000 barriers of all cores"
#pragma once

#include <string>

namespace moehill {

// `toml` is made by hardware_toml(). It ends the program (MOEHILL_CHECK) if it knows no source of a figure.
std::string with_sources(const std::string& toml);

}  // namespace moehill
