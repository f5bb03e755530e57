// The source of every figure of a hardware file that a probe writes, as a comment on the figure's line.
#pragma once

#include <string>

namespace moehill {

// `toml`: by hardware_toml(). A figure that has no source here is a failed check.
std::string with_sources(const std::string& toml);

}  // namespace moehill
