// Implementation of report/page.h.
#include "moehill/report/page.h"

#include "moehill/base/error.h"

// The build puts the page into the program by an assembler file that defines these (CMakeLists.txt).
extern "C" {
extern const char moehill_page_begin[];
extern const char moehill_page_end[];
}

namespace moehill {
namespace {

void replace_all(std::string& text, std::string_view from, std::string_view to) {
  for (size_t at = text.find(from); at != std::string::npos; at = text.find(from, at + to.size()))
    text.replace(at, from.size(), to);
}

}  // namespace

std::string_view page_shell() {
  return {moehill_page_begin, static_cast<size_t>(moehill_page_end - moehill_page_begin)};
}

std::string script_safe(const StoredJson& json) {
  std::string text = json_text(json);
  replace_all(text, "&", "\\u0026");
  replace_all(text, "<", "\\u003c");
  replace_all(text, ">", "\\u003e");
  replace_all(text, "\xe2\x80\xa8", "\\u2028");
  replace_all(text, "\xe2\x80\xa9", "\\u2029");
  return text;
}

std::string html_page(const StoredJson& data) {
  const std::string_view shell = page_shell();
  const size_t mark = shell.find(kDataMark);
  MOEHILL_CHECK(mark != std::string_view::npos, "the page has no place for data");
  return std::string(shell.substr(0, mark)) + script_safe(data) +
         std::string(shell.substr(mark + kDataMark.size()));
}

}  // namespace moehill
