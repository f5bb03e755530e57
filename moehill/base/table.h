// This header makes text for a terminal or a message: aligned tables, cut text, words for a shell, sizes.
//
//   format_table({"path", "ms"}, {{"fused", "1.2"}, {"psum", "10.5"}})
//   // path     ms
//   // fused   1.2
//   // psum   10.5
#pragma once

#include <cstddef>
#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

namespace moehill {

// Returns one line for the header and one for each row. The first column is aligned to the left, the others
// to the right, with two spaces between columns.
std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows);

// Returns the text with each control character replaced by `instead`, except for those in `kept`. Text from
// files needs it, because a terminal would obey such characters. Those from U+0080 to U+009F are among them,
// since xterm takes U+009B for the ESC [ that begins a command.
std::string printable(const std::string& text, char instead = '?', std::string_view kept = "");

// Returns the beginning of the text, at most `most` bytes of it. It cuts no character of UTF-8 in two.
std::string beginning_of(const std::string& text, size_t most);

// Returns the text as one word of a shell, in single quotes if it needs them.
std::string shell_word(const std::string& text);

// Breaks the text into lines of at most 100 columns, as far as it has blanks, | and commas behind which a
// line may end. The first line begins in column `first`; the other lines begin with `indent` blanks.
std::string wrapped(const std::string& text, size_t indent, size_t first = 0);

// Returns text such as "1 round" or "3 rounds". `more` is the plural if an s does not make it.
std::string count_text(int64_t n, std::string_view one, std::string_view more = "");

// Returns text such as "2 devices x 1 thread".
std::string layout_words(int64_t devices, int64_t threads);

// Gives a SIMD target of Highway the name that people know: "AVX-512" for "AVX3".
std::string instruction_words(const std::string& target);

// Returns text such as "1.50 GiB".
std::string gib(double bytes);

}  // namespace moehill
