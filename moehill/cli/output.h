// Output of commands: records of --json go to a file or, for "-", to standard output; tables then go to
// standard error; progress goes to a terminal that somebody watches.
#pragma once

#include <cstdio>
#include <string>

#include "moehill/base/terminal.h"
#include "moehill/quiet/pace.h"

namespace moehill {

inline std::FILE* table_stream(const std::string& json) { return json == "-" ? stderr : stdout; }

// Throws InputError when the file cannot be written; nothing to do for "" and "-".
void require_writable_json(const std::string& json);
// Writes lines of JSON; nothing to do for "". Throws std::runtime_error where they cannot be written.
void write_json_lines(const std::string& json, const std::string& lines);

// Returns a watcher that writes to standard error (base/terminal.h).
Watcher terminal_watcher();
// Warns if other work uses the cores on which so many threads of this process are about to be measured.
void warn_if_busy(int num_threads);
// Shows the line of a run: on a terminal in the place of the one before; elsewhere only for a finished run.
void show_run(const std::string& line, bool finished);

}  // namespace moehill
