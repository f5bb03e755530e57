#include "moehill/cli/output.h"

#include <sys/ioctl.h>
#include <unistd.h>

#include <algorithm>
#include <stdexcept>

#include "moehill/base/output_paths.h"
#include "moehill/base/table.h"

namespace moehill {

void require_writable_json(const std::string& json) {
  if (!json.empty() && json != "-") require_writable_file("--json", json);
}

void write_json_lines(const std::string& json, const std::string& lines) {
  if (json.empty()) return;
  if (json != "-") return write_text_file(json, lines);
  if (std::fputs(lines.c_str(), stdout) < 0 || std::fflush(stdout) != 0)
    throw std::runtime_error("cannot write the records to standard output");
}

void show_progress(const std::string& text) {
  if (isatty(STDERR_FILENO) != 1) return;
  winsize size{};
  const bool known = ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 1;
  const std::string line = printable(text).substr(0, known ? size.ws_col - 1U : 200);
  std::fprintf(stderr, "\r\033[K%s", line.c_str());
  std::fflush(stderr);
}

void show_run(const std::string& line, bool finished) {
  show_progress(line);
  if (finished && isatty(STDERR_FILENO) != 1) std::fprintf(stderr, "%s\n", printable(line).c_str());
}

}  // namespace moehill
