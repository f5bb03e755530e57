// Suggestions: the known name nearest to what somebody typed.
#pragma once

#include <string>
#include <vector>

namespace moehill {

// Insertions, deletions, replacements and swaps of neighbours that make `a` of `b` (optimal string
// alignment).
int edit_distance(const std::string& a, const std::string& b);

// The nearest of `names`, the first of equals; empty if none is within a third of the longer length, at
// least 2.
std::string nearest_name(const std::string& text, const std::vector<std::string>& names);

}  // namespace moehill
