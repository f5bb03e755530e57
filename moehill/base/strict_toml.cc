#include "moehill/base/strict_toml.h"

#include <algorithm>
#include <utility>
#include <vector>

#include "moehill/base/error.h"

namespace moehill {
namespace {

constexpr int kMaxTomlDepth = 64;

// Returns the end of the string or comment that begins at `begin`, or `begin` itself if none begins there.
size_t skip_text(std::string_view text, size_t begin) {
  const char first = text[begin];
  if (first == '#') return std::min(text.find('\n', begin), text.size());
  if (first != '"' && first != '\'') return begin;
  const std::string three(3, first);
  const bool is_long = text.substr(begin, 3) == three;
  const std::string end = is_long ? three : std::string(1, first);
  for (size_t i = begin + end.size(); i < text.size(); ++i) {
    if (text[i] == '\\' && first == '"') {
      ++i;
    } else if (text.substr(i, end.size()) == end) {
      size_t after = i + end.size();
      // A long string may end in one or two quotes of its own, which stand before the three that close it.
      for (int own = 0; is_long && own < 2 && after < text.size() && text[after] == first; ++own) ++after;
      return after;
    } else if (text[i] == '\n' && !is_long) {
      return i;  // not valid TOML; the parser will say so
    }
  }
  return text.size();
}

}  // namespace

// Counts brackets and dots without parsing. Everything inside strings and comments is skipped, since brackets
// mean nothing there. A dotted key a.b.c nests tables too, and what it holds lies in all of them.
void refuse_deep_toml(std::string_view text, const std::string& source) {
  std::vector<int> dots = {0};  // of the key and value that is read now, outside and in each open bracket
  int depth = 0;                // all these dots, and the open brackets
  for (size_t i = 0; i < text.size();) {
    const size_t end = skip_text(text, i);
    if (end > i) {
      i = end;
      continue;
    }
    const char c = text[i++];
    if (c == '[' || c == '{') {
      dots.push_back(0);
      ++depth;
    } else if (c == '.') {
      ++dots.back();
      ++depth;
    } else if ((c == ']' || c == '}') && dots.size() > 1) {
      depth -= dots.back() + 1;
      dots.pop_back();
    } else if (c == ',' || c == '\n') {
      depth -= std::exchange(dots.back(), 0);
    }
    if (depth <= kMaxTomlDepth) continue;
    const auto line = 1 + std::count(text.begin(), text.begin() + static_cast<std::ptrdiff_t>(i), '\n');
    throw input_error(
        fmt::format("{}:{}", source, line), fmt::format("values nested more than {} deep", kMaxTomlDepth),
        fmt::format("at most {} levels", kMaxTomlDepth), "write what it says without such depth");
  }
}

}  // namespace moehill
