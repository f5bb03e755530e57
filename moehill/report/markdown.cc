// Implementation of report/markdown.h: the characters that mean something in Markdown, HTML and XML, and what
// replaces them.
#include "moehill/report/markdown.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>

#include "moehill/base/table.h"
#include "moehill/store/results.h"

namespace moehill {
namespace {

// Puts a text on one line. Control characters would end the line or the cell, or be obeyed by a terminal.
std::string one_line(const std::string& text) { return printable(text, ' '); }

size_t longest_run_of_backticks(const std::string& text) {
  size_t longest = 0, run = 0;
  for (const char c : text) {
    run = c == '`' ? run + 1 : 0;
    longest = std::max(longest, run);
  }
  return longest;
}

}  // namespace

std::string markdown_text(const std::string& text) {
  std::string escaped;
  for (const char c : one_line(text)) {
    if (c == '<') {
      escaped += "&lt;";
    } else if (c == '>') {
      escaped += "&gt;";
    } else if (c == '&') {
      escaped += "&amp;";
    } else {
      if (std::string("\\`*_[]|~#!$").find(c) != std::string::npos) escaped += '\\';
      escaped += c;
    }
  }
  return escaped;
}

std::string xml_text(const std::string& text) {
  std::string escaped;
  // The way through JSON makes valid UTF-8 of any bytes.
  const std::string utf8 = StoredJson::parse(json_text(StoredJson(text))).get<std::string>();
  for (const char c : printable(utf8, '?', "\t\n\r")) {
    switch (c) {
      case '<':
        escaped += "&lt;";
        break;
      case '>':
        escaped += "&gt;";
        break;
      case '&':
        escaped += "&amp;";
        break;
      case '"':
        escaped += "&quot;";
        break;
      case '\'':
        escaped += "&apos;";
        break;
      case '\n':
        escaped += "&#10;";
        break;
      default:
        escaped += c;
    }
  }
  return escaped;
}

std::string markdown_code(const std::string& text) {
  if (text.empty()) return "";
  std::string inside;
  for (const char c : one_line(text)) {
    // A reader of Markdown splits the table at bars first, and removes the backslash.
    if (c == '|') inside += '\\';
    inside += c;
  }
  const std::string fence(longest_run_of_backticks(inside) + 1, '`');
  const char* space = fence.size() > 1 ? " " : "";
  return fmt::format("{}{}{}{}{}", fence, space, inside, space, fence);
}

std::string markdown_table(const std::vector<std::string>& head,
                           const std::vector<std::vector<std::string>>& rows, size_t left) {
  std::string text = fmt::format("| {} |\n|", fmt::join(head, " | "));
  for (size_t i = 0; i < head.size(); ++i) text += i < left ? "---|" : "---:|";
  for (const std::vector<std::string>& row : rows) text += fmt::format("\n| {} |", fmt::join(row, " | "));
  return text + "\n";
}

}  // namespace moehill
