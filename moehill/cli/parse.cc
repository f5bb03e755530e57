#include "moehill/cli/parse.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <charconv>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/cli/suggest.h"

namespace moehill {
namespace {

constexpr size_t kMaxQuoted = 60;

}  // namespace

std::string quoted(const std::string& text) {
  std::string shown = text.substr(0, kMaxQuoted);
  for (char& c : shown) {
    if (static_cast<unsigned char>(c) < 0x20 || c == 0x7f) c = '?';
  }
  return "'" + shown + (text.size() > kMaxQuoted ? "...'" : "'");
}

int64_t parse_integer(const std::string& option, const std::string& text, int64_t lo, int64_t hi) {
  int64_t value = 0;
  const char* end = text.data() + text.size();
  const auto [stop, error] = std::from_chars(text.data(), end, value);
  if (error != std::errc() || stop != end || value < lo || value > hi) {
    throw input_error(
        option, quoted(text), fmt::format("an integer from {} to {}", lo, hi),
        fmt::format("write it in digits alone, such as {} {}", option, std::max<int64_t>(lo, 1)));
  }
  return value;
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

std::vector<int64_t> parse_integer_list(const std::string& option, const std::string& text, int64_t lo,
                                        int64_t hi) {
  std::vector<int64_t> values;
  for (size_t begin = 0; begin <= text.size();) {
    const size_t comma = std::min(text.find(',', begin), text.size());
    const int64_t value = parse_integer(option, text.substr(begin, comma - begin), lo, hi);
    if (std::find(values.begin(), values.end(), value) != values.end()) {
      throw input_error(option, quoted(text), "each value once",
                        fmt::format("leave out the second {}", value));
    }
    values.push_back(value);
    begin = comma + 1;
  }
  return values;
}

size_t parse_choice(const std::string& option, const std::string& text, const std::vector<std::string>& names,
                    const std::vector<std::string>& not_yet) {
  const auto found = std::find(names.begin(), names.end(), text);
  if (found != names.end()) return static_cast<size_t>(found - names.begin());
  const std::string allowed = fmt::format("{}", fmt::join(names, ", "));
  if (std::find(not_yet.begin(), not_yet.end(), text) != not_yet.end()) {
    throw input_error(option, quoted(text) + ", which is not there yet", allowed, "choose one of these");
  }
  const std::string nearest = nearest_name(text, names);
  throw input_error(
      option, quoted(text), allowed,
      nearest.empty() ? "choose one of these" : fmt::format("did you mean {} {}?", option, nearest));
}

}  // namespace moehill
