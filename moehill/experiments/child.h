// Child: one program run to its end in a process group of its own, with a time limit.
#pragma once

#include <string>
#include <vector>

namespace moehill {

enum class ChildEnd { exited, signalled, timed_out, stopped };

struct ChildResult {
  ChildEnd end = ChildEnd::exited;
  int status = 0;                       // exit status, or 128 + signal
  double seconds = 0, cpu_seconds = 0;  // cpu_seconds: of the child and the processes it waited for
  std::string output;                   // standard output
  std::string error_tail;               // the last 4 KB of standard error
};

// SIGINT and SIGTERM as a file that becomes readable, for as long as this lives: whoever waits for something
// else too can wait for both.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int file() const { return file_; }
  // Waits that long; whether somebody asked to stop, now or before.
  bool wait(double seconds);

 private:
  int file_;
  bool stopped_ = false;
};

// No shell: arguments[0] is the program, looked up in PATH. Standard input is empty. After `limit_seconds`,
// and when `stop` becomes readable (-1: nothing stops it), the whole group is killed. The child dies with its
// parent. Throws std::runtime_error where it cannot be started.
ChildResult run_child(const std::vector<std::string>& arguments, double limit_seconds, int stop);

// Returns the line of a program's standard error that says why it ended: its own message, where one begins as
// ours do ("moehill: "), else the first line. Warnings and estimates may stand before it.
std::string error_line(const std::string& error_tail);

// `launcher` split at blanks, "{devices}" replaced, then the program and its arguments: {"mpirun", "-n", "4",
// "moehill", "bench", ...}. Nothing is split that is in the arguments.
std::vector<std::string> launched(const std::string& launcher, int64_t devices,
                                  const std::vector<std::string>& program);

}  // namespace moehill
