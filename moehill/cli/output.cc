#include "moehill/cli/output.h"

#include <stdexcept>

#include "moehill/base/output_paths.h"
#include "moehill/machine/topology.h"
#include "moehill/quiet/busy.h"

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

Watcher terminal_watcher() { return {show_progress, tell}; }

void warn_if_busy(int num_threads) {
  tell(busy_words(machine_load(), {num_threads, detect_topology().num_cores, 1}));
}

void show_run(const std::string& line, bool finished) {
  show_progress(line);
  if (finished && !shows_progress()) tell(line);
}

}  // namespace moehill
