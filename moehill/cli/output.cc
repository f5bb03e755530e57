#include "moehill/cli/output.h"

#include <fmt/format.h>
#include <poll.h>
#include <unistd.h>

#include <cerrno>
#include <csignal>
#include <exception>
#include <memory>

#include "moehill/base/json_fields.h"
#include "moehill/base/output_paths.h"
#include "moehill/base/table.h"
#include "moehill/cli/commands.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/topology.h"
#include "moehill/quiet/busy.h"

namespace moehill {
namespace {

// Ends the process by SIGPIPE when this handler returns, unless another reader has gone, such as that of
// standard error.
void end_if_reader_has_gone(int) {
  const int before = errno;
  if (reader_has_gone()) {
    std::signal(SIGPIPE, SIG_DFL);
    std::raise(SIGPIPE);
  }
  errno = before;
}

}  // namespace

void require_writable_json(const std::string& json) {
  if (!json.empty()) require_writable_output("--json", json);
}

void write_json_lines(const std::string& json, const std::string& lines) {
  if (json.empty()) return;
  if (json != "-") return write_text_file(json, lines);
  std::fputs(calm_json(lines).c_str(), stdout);
}

bool reader_has_gone() {
  pollfd output = {STDOUT_FILENO, 0, 0};
  return poll(&output, 1, 0) > 0 && (output.revents & (POLLERR | POLLHUP)) != 0;
}

void end_with_reader(const std::string& json) {
  if (json.empty()) std::signal(SIGPIPE, end_if_reader_has_gone);  // which run_command_line() ignores
}

void write_and_show(const std::vector<std::function<void()>>& writes, const std::function<void()>& show) {
  std::exception_ptr failure;
  for (const auto& write : writes) {
    try {
      write();
    } catch (...) {
      if (failure == nullptr) failure = std::current_exception();
    }
  }
  show();
  if (failure != nullptr) std::rethrow_exception(failure);
}

std::string interrupted_line(int signal, size_t done, size_t all, const std::string& thing) {
  if (signal == 0) return "";
  return fmt::format("interrupted by {} after {} of {}\n", signal_name(signal), done,
                     count_text(static_cast<int64_t>(all), thing));
}

Watcher terminal_watcher() { return {show_progress, tell}; }

void warn_if_busy(int num_threads) {
  tell(busy_words(machine_load(), {num_threads, detect_topology().num_cores, 1}));
}

std::function<void()> counted_progress(int64_t total, const std::string& thing) {
  const std::string all = count_text(total, thing);
  const auto pace = std::make_shared<Pace>(static_cast<double>(total), all, tell);
  return [pace, total, all, num_done = int64_t{0}]() mutable {
    ++num_done;
    pace->done(1);
    show_progress(num_done == total ? "" : fmt::format("{} of {} are done", num_done, all));
  };
}

CountedShapes::CountedShapes(int64_t total)
    : total_(total),
      interruption_(
          "stopping when all spreads of this shape are measured, with the results so far; "
          "the same signal again stops at once, without them"),
      show_done_(counted_progress(total, "shape")) {}

bool CountedShapes::done() {
  show_done_();
  if (++num_done_ < total_) signal_ = interruption_.signal();
  if (signal_ != 0) show_progress("");
  return signal_ != 0;
}

std::string CountedShapes::line() const {
  return interrupted_line(signal_, static_cast<size_t>(num_done_), static_cast<size_t>(total_), "shape");
}

int CountedShapes::exit_status() const { return signal_ == 0 ? kExitDone : kExitSignal + signal_; }

OtherWork::OtherWork()
    : before_(machine_times()), own_cpu_s_(process_cpu_seconds()), load_(machine_load().average) {}

std::string OtherWork::line() const {
  const std::string words =
      disturbance_between(before_, machine_times(), process_cpu_seconds() - own_cpu_s_, load_);
  return words.empty() ? "" : fmt::format("disturbed: {}; figures are of a shared machine\n", words);
}

void show_run(const std::string& line, bool finished) {
  show_progress(line);
  if (finished && !shows_progress()) tell(line);
}

}  // namespace moehill
