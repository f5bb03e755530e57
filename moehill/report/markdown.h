// Markdown and XML: text from files as text, whatever characters it has, and tables.
#pragma once

#include <string>
#include <vector>

namespace moehill {

// Puts a text on one line; characters that mean something in Markdown or HTML are escaped.
std::string markdown_text(const std::string& text);

// A code span that shows `text` as it is, on one line; also inside a table.
std::string markdown_code(const std::string& text);

// Text and attributes of XML, as valid UTF-8. A control character that XML 1.0 does not have becomes "?".
std::string xml_text(const std::string& text);

// Cells are Markdown already. The first `left` columns are aligned to the left, the others to the right.
std::string markdown_table(const std::vector<std::string>& head,
                           const std::vector<std::vector<std::string>>& rows, size_t left = 1);

}  // namespace moehill
