#include "moehill/base/terminal.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string_view>

#include "moehill/base/table.h"

namespace moehill {
namespace {

constexpr const char* kClearLine = "\r\033[K";

// Returns the number of characters that fit into a line. It is one less than the width, because some
// terminals wrap a line that fills them exactly.
size_t line_width() {
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  return known ? size.ws_col - 1U : 79;
}

}  // namespace

bool shows_progress() {
  const char* term = std::getenv("TERM");
  return isatty(STDERR_FILENO) == 1 && term != nullptr && *term != '\0' && std::string_view(term) != "dumb";
}

void show_progress(const std::string& text) {
  if (!shows_progress()) return;
  std::fprintf(stderr, "%s%s", kClearLine, printable(text).substr(0, line_width()).c_str());
  std::fflush(stderr);
}

void tell(const std::string& line) {
  if (line.empty()) return;
  show_progress("");
  std::fprintf(stderr, "%s\n", printable(line).c_str());
  std::fflush(stderr);
}

}  // namespace moehill
