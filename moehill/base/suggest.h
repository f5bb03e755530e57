// This header finds the known name that is nearest to what the user typed, for "did you mean ...?".
//
//   nearest_name("fowrard", {"forward", "backward"})   // "forward"
#pragma once

#include <string>
#include <vector>

namespace moehill {

// Returns the least number of insertions, deletions, replacements and swaps of neighbours that turn `a` into
// `b` (the distance of optimal string alignment).
int edit_distance(const std::string& a, const std::string& b);

// Returns the nearest of `names`; of equally near ones the first. Returns "" if none is within a third of the
// longer length, or within 2 if a third is less.
std::string nearest_name(const std::string& text, const std::vector<std::string>& names);

}  // namespace moehill
