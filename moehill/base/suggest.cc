#include "moehill/base/suggest.h"

#include <algorithm>

namespace moehill {

// The usual dynamic programme over prefixes. It keeps three rows of the table: the current one, the one above
// it, and the one before that, which a swap of neighbours needs.
int edit_distance(const std::string& a, const std::string& b) {
  std::vector<int> before(b.size() + 1), above(b.size() + 1), row(b.size() + 1);
  for (size_t j = 0; j <= b.size(); ++j) above[j] = static_cast<int>(j);
  for (size_t i = 1; i <= a.size(); ++i) {
    row[0] = static_cast<int>(i);
    for (size_t j = 1; j <= b.size(); ++j) {
      row[j] = std::min({above[j] + 1, row[j - 1] + 1, above[j - 1] + (a[i - 1] != b[j - 1])});
      if (i > 1 && j > 1 && a[i - 1] == b[j - 2] && a[i - 2] == b[j - 1])
        row[j] = std::min(row[j], before[j - 2] + 1);
    }
    before.swap(above);
    above.swap(row);
  }
  return above[b.size()];
}

std::string nearest_name(const std::string& text, const std::vector<std::string>& names) {
  // A longer text is not a mistyped name, and the distance takes time in proportion to its length.
  constexpr size_t kLongestName = 64;
  if (text.size() > kLongestName) return "";
  std::string nearest;
  int least = 1 << 20;
  for (const std::string& name : names) {
    const int distance = edit_distance(text, name);
    const int limit = std::max(2, static_cast<int>(std::max(text.size(), name.size()) / 3));
    if (distance <= limit && distance < least) {
      least = distance;
      nearest = name;
    }
  }
  return nearest;
}

}  // namespace moehill
