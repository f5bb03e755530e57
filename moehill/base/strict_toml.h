// TOML from files that somebody else wrote: what would overflow the stack of the library that parses it is
// refused before.
#pragma once

#include <string>
#include <string_view>

namespace moehill {

// Throws InputError with `source`, line and remedy where arrays, tables or the parts of a dotted key are
// nested more than 64 deep. The library parses, copies and destroys them by recursion.
void refuse_deep_toml(std::string_view text, const std::string& source);

}  // namespace moehill
