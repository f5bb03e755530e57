// Strict parsing of option values: the whole text is the value, or it is an error in one sentence.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

// Decimal digits with an optional minus sign, nothing before or after, within [lo, hi]. Throws InputError
// naming `option`.
int64_t parse_integer(const std::string& option, const std::string& text, int64_t lo, int64_t hi);

// Bytes: decimal digits, then nothing, K, M or G (upper or lower case) for 2^10, 2^20 or 2^30. Within [lo,
// hi].
int64_t parse_size(const std::string& option, const std::string& text, int64_t lo, int64_t hi);
// The shortest text that parse_size() reads as `bytes`: 65536 is "64K".
std::string size_text(int64_t bytes);

// A finite decimal number such as 0.98 or 1e-3, within [lo, hi].
double parse_number(const std::string& option, const std::string& text, double lo, double hi);

// A share such as "3%", within [lo, hi] percent: 0.03.
double parse_percent(const std::string& option, const std::string& text, double lo, double hi);

// The parts of `text` between separators, one more than there are separators: "a,,b," has four.
std::vector<std::string> split(const std::string& text, char separator);

// "1,2,4": integers as above, none twice.
std::vector<int64_t> parse_integer_list(const std::string& option, const std::string& text, int64_t lo,
                                        int64_t hi);

// The position of `text` in `names`; any other text is an error that lists the names and suggests the
// nearest.
size_t parse_choice(const std::string& option, const std::string& text,
                    const std::vector<std::string>& names);

// Text in quotes, cut after so many characters, control characters shown as '?'.
std::string quoted(const std::string& text, size_t most = 60);

}  // namespace moehill
