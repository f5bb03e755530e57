// This header checks TOML from files that somebody else wrote. The TOML library parses, copies and destroys
// values by recursion, so deeply nested values would overflow the stack. The check refuses such texts before
// the library sees them. It does not check anything else.
//
//   refuse_deep_toml(text, path);
//   const toml::table table = toml::parse(text);
#pragma once

#include <string>
#include <string_view>

namespace moehill {

// Throws InputError with `source`, the line and the remedy if arrays, tables or the parts of a dotted key are
// nested more than 64 deep.
void refuse_deep_toml(std::string_view text, const std::string& source);

}  // namespace moehill
