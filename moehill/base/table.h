// Table: text columns aligned for a terminal.
#pragma once

#include <string>
#include <vector>

namespace moehill {

// The first column is aligned to the left, the others to the right; two spaces between; one line a row, the
// header first.
std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows);

// Replaces the control characters of a text from files, which a terminal would obey, by ?.
std::string printable(std::string text);

// Returns the text as one word of a shell, in quotes where it needs them.
std::string shell_word(const std::string& text);

// "1.50 GiB".
std::string gib(double bytes);

}  // namespace moehill
