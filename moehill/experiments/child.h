// Child is one program that runs to its end in a process group of its own, with a time limit. The caller gets
// its output, its end and its times together, once it has ended.
//
//     StopSignals stop;
//     const ChildResult result = run_child({"moehill", "bench", "--json", "-"}, 600, stop.file());
//     if (result.end == ChildEnd::exited && result.status == 0) use(result.output);
#pragma once

#include <csignal>
#include <cstddef>
#include <optional>
#include <string>
#include <vector>

#include "moehill/store/results.h"

namespace moehill {

// Exit status of a command of this program whose result failed its check.
inline constexpr int kCheckFailedStatus = 3;

// More output than this is a fault of the program. A record has some kilobytes.
inline constexpr size_t kMostOutput = size_t{512} << 20;

// ChildEnd is how the child came to its end. `flooded`: it was killed because it printed too much.
enum class ChildEnd { exited, signalled, timed_out, stopped, flooded };

// ChildResult is what is left of a child.
struct ChildResult {
  ChildEnd end = ChildEnd::exited;
  int status = 0;                       // exit status, or 128 + signal
  double seconds = 0, cpu_seconds = 0;  // of the child and of processes that it waited for
  std::string output;                   // standard output; if flooded, its first `most_output` bytes
  std::string error_tail;  // the last 4 KB of standard error; if flooded, it begins with a line that says so
};

// StopSignals turns SIGINT, SIGTERM, SIGHUP and SIGXCPU into a file that becomes readable, for as long as the
// object lives. The caller can wait for this file and for something else at the same time. A signal that is
// ignored when the object is made, for example because of nohup, stays ignored.
class StopSignals {
 public:
  StopSignals();
  ~StopSignals();
  StopSignals(const StopSignals&) = delete;
  StopSignals& operator=(const StopSignals&) = delete;

  int file() const { return file_; }
  // Waits that many seconds. Returns true if somebody has asked to stop, now or before.
  bool wait(double seconds);

 private:
  const sigset_t signals_;
  int file_;
  bool stopped_ = false;
};

// Runs arguments[0], looked up in PATH, without a shell. Standard input is empty. The whole group is killed
// after `limit_seconds`, after more than `most_output` bytes of standard output, and as soon as `stop`
// becomes readable (-1: nothing stops it). The child dies with its parent. Throws std::runtime_error if the
// child cannot be started.
ChildResult run_child(const std::vector<std::string>& arguments, double limit_seconds, int stop,
                      size_t most_output = kMostOutput);

// Returns the line of a program's standard error that says why it ended: its own message if there is one that
// begins with "moehill: ", otherwise the first line.
std::string error_line(const std::string& error_tail);

// Returns the JSON object that a program printed as one line; nothing for any other line, and for an object
// that base/strict_json.h refuses, such as a deeply nested one.
std::optional<StoredJson> object_in(const std::string& line);

// Returns `launcher` split at blanks, with "{devices}" replaced, followed by the program and its arguments:
// {"mpirun", "-n", "4", "moehill", "bench", ...}. The arguments are not split.
std::vector<std::string> launched(const std::string& launcher, int64_t devices,
                                  const std::vector<std::string>& program);

}  // namespace moehill
