// Kept file: a file of the user's that several processes add to, replaced whole or not at all.
#pragma once

#include <functional>
#include <string>

namespace moehill {

// Writes what `text` gives in place of the file. Processes that do so at the same time
// wait for one another, so `text` may read the file and add to it; one that is killed leaves the file as it
// was. Throws std::runtime_error where it cannot be written, and what `text` throws.
void replace_file(const std::string& path, const std::function<std::string()>& text);

}  // namespace moehill
