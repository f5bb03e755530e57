#include "moehill/cli/output.h"

#include <unistd.h>

#include <stdexcept>

#include "moehill/base/output_paths.h"

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
  std::fprintf(stderr, "\r\033[K%s", text.c_str());
  std::fflush(stderr);
}

}  // namespace moehill
