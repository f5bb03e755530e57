// Markdown and XML: escapes text from files so that it shows as it is, whatever characters it has, and makes
// tables. Titles and labels come from users, so all text goes through these functions.
//
//     markdown_text("a < b | c");    // "a &lt; b \| c"
//     markdown_code("topk=8");       // "`topk=8`"
#pragma once

#include <string>
#include <vector>

namespace moehill {

// Puts a text on one line and escapes characters that mean something in Markdown or HTML.
std::string markdown_text(const std::string& text);

// Returns a code span that shows `text` as it is, on one line. It may stand in a table.
std::string markdown_code(const std::string& text);

// Returns text for elements and attributes of XML, as valid UTF-8. A control character other than tabs and
// ends of lines becomes "?": XML 1.0 has few of them, and a terminal would obey the others.
std::string xml_text(const std::string& text);

// Cells have to be Markdown already. The first `left` columns are aligned to the left, the others to the
// right.
std::string markdown_table(const std::vector<std::string>& head,
                           const std::vector<std::vector<std::string>>& rows, size_t left = 1);

}  // namespace moehill
