// Output decides where commands write. Records of --json go to a file or, for "-", to standard output; tables
// then go to standard error. Progress goes to a terminal, if there is one.
//
//     std::FILE* out = table_stream(options.json);   // stderr if the records have stdout
//     fmt::print(out, "{}", table);
//     write_json_lines(options.json, lines);
#pragma once

#include <cstdint>
#include <cstdio>
#include <functional>
#include <string>
#include <vector>

#include "moehill/base/terminal.h"
#include "moehill/machine/interruption.h"
#include "moehill/quiet/disturbance.h"
#include "moehill/quiet/pace.h"

namespace moehill {

inline std::FILE* table_stream(const std::string& json) { return json == "-" ? stderr : stdout; }

// Throws InputError if the file cannot be written. Does nothing for "" and "-".
void require_writable_json(const std::string& json);
// Writes lines of JSON; does nothing for "". Throws std::runtime_error if a file cannot be written. If
// standard output cannot, run_command_line() says so at the end.
void write_json_lines(const std::string& json, const std::string& lines);

// Returns true if standard output is a pipe or a socket whose reader has gone, as `head` does after its
// lines.
bool reader_has_gone();

// Lets a reader of standard output that goes, as `head` does, end the process, unless records go to a file or
// to standard output. It is for commands that print a table row by row: nobody would see the rows that they
// measure after that.
void end_with_reader(const std::string& json);

// Runs each of `writes`, then `show`, and at last throws what the first failure of a write threw. So a disk
// that is full takes neither the other files nor the table.
void write_and_show(const std::vector<std::function<void()>>& writes, const std::function<void()>& show);

// Returns the line that says how far a command came before a signal: "interrupted by SIGINT after 3 of 8
// sizes\n"; "" for no signal. `thing` is the name of one: "size".
std::string interrupted_line(int signal, size_t done, size_t all, const std::string& thing);

// Returns a watcher that writes to standard error (moehill/base/terminal.h).
Watcher terminal_watcher();
// Warns if other work uses the cores on which `num_threads` threads of this process are about to be measured.
void warn_if_busy(int num_threads);
// Returns what to call after each of `total` things (`thing` is the name of one): it shows how many are done,
// and tells once how long all of them will take.
std::function<void()> counted_progress(int64_t total, const std::string& thing);
// CountedShapes counts the shapes that a --validate runs, and shows how many are done. When a signal comes,
// it says at once that the shapes end after the running one.
class CountedShapes {
 public:
  explicit CountedShapes(int64_t total);
  // Call it after each shape. Returns true if a signal came, so that no other shape is to run.
  bool done();
  // Returns the line that says how far the shapes came, "" if no signal ended them; and the exit status.
  std::string line() const;
  int exit_status() const;

 private:
  int64_t total_, num_done_ = 0;
  int signal_ = 0;
  Interruption interruption_;
  std::function<void()> show_done_;
};

// OtherWork watches from its construction on what other work takes of the machine. It is for one process: it
// would count other processes of a job as other work.
class OtherWork {
 public:
  OtherWork();
  // Returns a line about that work, or nothing if it disturbed nothing.
  std::string line() const;

 private:
  MachineTimes before_;
  double own_cpu_s_, load_;
};
// Shows the line of a run. On a terminal it replaces the line before; elsewhere only lines of finished runs
// are printed.
void show_run(const std::string& line, bool finished);

}  // namespace moehill
