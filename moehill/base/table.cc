// Implementation of base/table.h: text for a terminal or a message. Nothing is printed here.
#include "moehill/base/table.h"

#include <fmt/format.h>

#include <algorithm>

namespace moehill {
namespace {

std::string format_row(const std::vector<std::string>& cells, const std::vector<size_t>& widths) {
  std::string line;
  for (size_t i = 0; i < cells.size(); ++i) {
    line +=
        i == 0 ? fmt::format("{:<{}}", cells[i], widths[i]) : fmt::format("  {:>{}}", cells[i], widths[i]);
  }
  return line.substr(0, line.find_last_not_of(' ') + 1) + "\n";
}

}  // namespace

std::string format_table(const std::vector<std::string>& header,
                         const std::vector<std::vector<std::string>>& rows) {
  std::vector<size_t> widths;
  for (const std::string& cell : header) widths.push_back(cell.size());
  for (const auto& row : rows) {
    for (size_t i = 0; i < row.size(); ++i) widths[i] = std::max(widths[i], row[i].size());
  }
  std::string text = format_row(header, widths);
  for (const auto& row : rows) text += format_row(row, widths);
  return text;
}

std::string beginning_of(const std::string& text, size_t most) {
  if (text.size() <= most) return text;
  size_t end = most;
  while (end > 0 && (static_cast<unsigned char>(text[end]) & 0xC0) == 0x80) --end;
  return text.substr(0, end);
}

std::string shell_word(const std::string& text) {
  const auto is_plain = [](char c) {
    return std::isalnum(static_cast<unsigned char>(c)) != 0 ||
           std::string("_-./=:,").find(c) != std::string::npos;
  };
  if (!text.empty() && std::all_of(text.begin(), text.end(), is_plain)) return text;
  std::string quoted = "'";
  for (const char c : text) quoted += c == '\'' ? std::string("'\\''") : std::string(1, c);
  return quoted + "'";
}

std::string wrapped(const std::string& text, size_t indent, size_t first) {
  constexpr size_t kColumns = 100;
  std::string lines;
  size_t begin = 0, column = first;
  while (text.size() - begin > kColumns - column) {
    const size_t found = text.find_last_of(" |,", begin + kColumns - column - 1);
    const size_t end = found == std::string::npos || found < begin + (begin == 0 ? indent : 0)
                           ? text.find_first_of(" |,", begin + kColumns - column)
                           : found;
    if (end == std::string::npos) break;
    std::string line = text.substr(begin, end + 1 - begin);
    lines += line.substr(0, line.find_last_not_of(' ') + 1) + "\n" + std::string(indent, ' ');
    begin = end + 1;
    column = indent;
  }
  return lines + text.substr(begin);
}

std::string count_text(int64_t n, std::string_view one, std::string_view more) {
  if (n == 1) return fmt::format("1 {}", one);
  return more.empty() ? fmt::format("{} {}s", n, one) : fmt::format("{} {}", n, more);
}

std::string layout_words(int64_t devices, int64_t threads) {
  return fmt::format("{} x {}", count_text(devices, "device"), count_text(threads, "thread"));
}

std::string instruction_words(const std::string& target) {
  return target.rfind("AVX3", 0) == 0 ? "AVX-512" + target.substr(4) : target;
}

std::string gib(double bytes) { return fmt::format("{:.2f} GiB", bytes / (1 << 30)); }

std::string printable(const std::string& text, char instead, std::string_view kept) {
  constexpr char kLead = '\xc2';  // begins U+0080 to U+009F in UTF-8, whose second byte is 0x80 to 0x9f
  std::string shown;
  for (const char c : text) {
    const auto byte = static_cast<unsigned char>(c);
    const bool follows_lead = !shown.empty() && shown.back() == kLead;
    // Behind other bytes from 0x80 on, such a byte continues a character of another kind.
    const bool begins = shown.empty() || static_cast<unsigned char>(shown.back()) < 0x80;
    if (byte >= 0x80 && byte < 0xa0 && (follows_lead || begins)) {
      if (follows_lead) shown.pop_back();
      shown += instead;
    } else {
      const bool is_control = byte < 0x20 || byte == 0x7f;
      shown += is_control && kept.find(c) == std::string_view::npos ? instead : c;
    }
  }
  return shown;
}

}  // namespace moehill
