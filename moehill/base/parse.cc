// Implements the parsers of option values. They use std::from_chars, which takes no blanks, no plus sign and
// no locale, and which says where it stopped: a value with anything behind it is refused.
#include "moehill/base/parse.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/suggest.h"
#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr char kSizeSuffixes[] = {'K', 'M', 'G'};

// Returns the power of two that a suffix stands for: 10 for K. Returns -1 for any other character.
int suffix_shift(char suffix) {
  const char upper = suffix >= 'a' && suffix <= 'z' ? static_cast<char>(suffix - 'a' + 'A') : suffix;
  for (int i = 0; i < 3; ++i) {
    if (upper == kSizeSuffixes[i]) return 10 * (i + 1);
  }
  return -1;
}

}  // namespace

std::string quoted(const std::string& text, size_t most) {
  return fmt::format("'{}{}'", printable(beginning_of(text, most)), text.size() > most ? "..." : "");
}

int64_t parse_integer(const std::string& option, const std::string& text, int64_t lo, int64_t hi) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < lo || value > hi) {
    // A value inside a list such as "layers 3" is no option by itself, so the example leaves its name out.
    const std::string before = option.find(' ') == std::string::npos ? option + " " : "";
    throw input_error(
        option, quoted(text), fmt::format("an integer from {} to {}", lo, hi),
        fmt::format("write it in digits alone, such as {}{}", before, std::max<int64_t>(lo, 1)));
  }
  return value;
}

std::string size_text(int64_t bytes) {
  for (int i = 2; i >= 0; --i) {
    const int64_t unit = int64_t{1} << 10 * (i + 1);
    if (bytes != 0 && bytes % unit == 0) return fmt::format("{}{}", bytes / unit, kSizeSuffixes[i]);
  }
  return std::to_string(bytes);
}

int64_t parse_size(const std::string& option, const std::string& text, int64_t lo, int64_t hi) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  const int shift = stop == end ? 0 : stop + 1 == end ? suffix_shift(*stop) : -1;
  // The value is compared with hi >> shift, because value << shift could overflow.
  const bool fits = error == std::errc() && shift >= 0 && value >= 0 && value <= (hi >> shift);
  if (!fits || (value << shift) < lo) {
    throw input_error(option, quoted(text), fmt::format("bytes from {} to {}", size_text(lo), size_text(hi)),
                      fmt::format("write it in digits, alone or with K, M or G, such as {} 64K", option));
  }
  return value << shift;
}

double parse_number(const std::string& option, const std::string& text, double lo, double hi) {
  double value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || !std::isfinite(value) || value < lo || value > hi) {
    throw input_error(option, quoted(text), fmt::format("a number from {:g} to {:g}", lo, hi),
                      "write it as a plain decimal, such as 1.25");
  }
  return value;
}

std::vector<std::string> split(const std::string& text, char separator) {
  std::vector<std::string> parts;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t end = std::min(text.find(separator, begin), text.size());
    parts.push_back(text.substr(begin, end - begin));
    begin = end + 1;
  }
  return parts;
}

std::vector<int64_t> parse_integer_list(const std::string& option, const std::string& text, int64_t lo,
                                        int64_t hi) {
  std::vector<int64_t> values;
  for (const std::string& part : split(text, ',')) {
    const int64_t value = parse_integer(option, part, lo, hi);
    if (std::find(values.begin(), values.end(), value) != values.end()) {
      throw input_error(option, quoted(text), "each value once",
                        fmt::format("leave out the second {}", value));
    }
    values.push_back(value);
  }
  return values;
}

size_t parse_choice(const std::string& option, const std::string& text,
                    const std::vector<std::string>& names) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  const std::string allowed = fmt::format("{}", fmt::join(names, ", "));
  const std::string nearest = nearest_name(text, names);
  throw input_error(
      option, quoted(text), allowed,
      nearest.empty() ? "choose one of these" : fmt::format("did you mean {} {}?", option, nearest));
}

double parse_percent(const std::string& option, const std::string& text, double lo, double hi) {
  if (text.empty() || text.back() != '%')
    throw input_error(option, quoted(text), "a number with %, such as 3%", "write the % sign");
  return parse_number(option, text.substr(0, text.size() - 1), lo, hi) / 100;
}

}  // namespace moehill
