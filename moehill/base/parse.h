// This header parses option values strictly: the whole text must be the value, otherwise the user gets an
// error of one sentence. All functions throw InputError that names `option`, the text, and what is allowed.
//
//   parse_integer("--topk", "8", 1, 64)       // 8; "8x", " 8" and "65" are errors
//   parse_size("--max-bytes", "64K", 1, kMax) // 65536
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

// Reads decimal digits with an optional minus sign; nothing may stand before or after. The value must be in
// [lo, hi].
int64_t parse_integer(const std::string& option, const std::string& text, int64_t lo, int64_t hi);

// Reads a number of bytes: decimal digits, then nothing or K, M or G (upper or lower case), which stand for
// 2^10, 2^20 and 2^30. The value must be in [lo, hi].
int64_t parse_size(const std::string& option, const std::string& text, int64_t lo, int64_t hi);
// Returns the shortest text that parse_size() reads as `bytes`: 65536 is "64K".
std::string size_text(int64_t bytes);

// Reads a finite decimal number such as 0.98 or 1e-3, in [lo, hi].
double parse_number(const std::string& option, const std::string& text, double lo, double hi);

// Reads a share such as "3%" and returns it as a fraction, 0.03. lo and hi are in percent.
double parse_percent(const std::string& option, const std::string& text, double lo, double hi);

// Returns the parts of `text` between separators. There is one part more than there are separators: "a,,b,"
// has four, two of them empty.
std::vector<std::string> split(const std::string& text, char separator);

// Reads integers between commas, such as "1,2,4", each in [lo, hi]. The same integer twice is an error.
std::vector<int64_t> parse_integer_list(const std::string& option, const std::string& text, int64_t lo,
                                        int64_t hi);

// Returns the position of `text` in `names`. For any other text, the error lists the names and suggests the
// nearest one.
size_t parse_choice(const std::string& option, const std::string& text,
                    const std::vector<std::string>& names);

// Returns the text in single quotes, for messages. It is cut after `most` bytes, and control characters are
// shown as '?', because the text may come from a hostile file.
std::string quoted(const std::string& text, size_t most = 60);

}  // namespace moehill
