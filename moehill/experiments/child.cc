// Implementation of experiments/child.h, with fork, pidfd and signalfd of Linux: the driver waits for the
// child's end, its output, a signal and the time limit in one poll().
#include "moehill/experiments/child.h"

#include <fcntl.h>
#include <fmt/format.h>
#include <poll.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/signalfd.h>
#include <sys/syscall.h>
#include <sys/wait.h>
#include <unistd.h>

#include <algorithm>
#include <cerrno>
#include <csignal>
#include <cstring>
#include <sstream>
#include <stdexcept>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/strict_json.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/interruption.h"

namespace moehill {
namespace {

constexpr size_t kTailBytes = 4096;  // of standard error
constexpr int kCannotStart = 127;    // the exit status that shells use for it

// File closes a file descriptor.
class File {
 public:
  explicit File(int file) : file_(file) {}
  ~File() { close_now(); }
  File(const File&) = delete;
  File& operator=(const File&) = delete;
  int get() const { return file_; }
  void close_now() {
    if (file_ >= 0) close(std::exchange(file_, -1));
  }

 private:
  int file_;
};

[[noreturn]] void fail(const char* what) {
  throw std::runtime_error(fmt::format("{}: {}", what, std::strerror(errno)));
}

// Pipe is a pipe whose read end does not block.
struct Pipe {
  Pipe() : Pipe(make()) {}
  explicit Pipe(std::pair<int, int> ends) : read_end(ends.first), write_end(ends.second) {}
  static std::pair<int, int> make() {
    int ends[2];
    if (pipe2(ends, O_CLOEXEC) != 0) fail("pipe");
    fcntl(ends[0], F_SETFL, O_NONBLOCK);
    return {ends[0], ends[1]};
  }
  File read_end, write_end;
};

// Returns the signals that ask to stop. SIGHUP says that the terminal or the connection is gone. Signals that
// are ignored are left out, such as SIGHUP under nohup and SIGINT in a shell's background job. The returned
// signals get blocked, and Linux keeps a blocked signal even if it is ignored. So an ignored signal among
// them would make the file readable.
sigset_t stop_signals() {
  sigset_t set;
  sigemptyset(&set);
  for (const int number : kEndingSignals) {
    struct sigaction action = {};
    sigaction(number, nullptr, &action);
    if (action.sa_handler != SIG_IGN) sigaddset(&set, number);
  }
  return set;
}

// Runs in the child between fork and exec, where only few calls are safe. The child gets a process group of
// its own, dies with its parent, and blocks no signals.
[[noreturn]] void become(char* const* arguments, int parent, int input, int output, int error) {
  setpgid(0, 0);
  prctl(PR_SET_PDEATHSIG, SIGKILL);
  // The parent may have died before the line above took effect.
  if (getppid() != parent) _exit(kCannotStart);
  const sigset_t none = [] {
    sigset_t set;
    sigemptyset(&set);
    return set;
  }();
  sigprocmask(SIG_SETMASK, &none, nullptr);
  signal(SIGPIPE, SIG_DFL);  // which this program ignores, while a launcher may rely on its usual action
  const bool redirected = dup2(input, 0) >= 0 && dup2(output, 1) >= 0 && dup2(error, 2) >= 0;
  if (redirected) execvp(arguments[0], arguments);
  const char message[] = "cannot start the program\n";
  [[maybe_unused]] const ssize_t written = write(2, message, sizeof message - 1);
  _exit(kCannotStart);
}

// Appends what can be read now. Returns false if the text would have more than `most` bytes, and keeps the
// first ones.
bool append_first(int file, std::string& text, size_t most) {
  char buffer[65536];
  for (ssize_t size; (size = read(file, buffer, sizeof buffer)) > 0;) {
    const size_t read_bytes = static_cast<size_t>(size), kept = std::min(read_bytes, most - text.size());
    text.append(buffer, kept);
    if (kept < read_bytes) return false;
  }
  return true;
}

// Appends what can be read now, and keeps about the last kTailBytes.
void append_tail(int file, std::string& text) {
  char buffer[65536];
  for (ssize_t size; (size = read(file, buffer, sizeof buffer)) > 0;) {
    text.append(buffer, static_cast<size_t>(size));
    if (text.size() > 2 * kTailBytes) text.erase(0, text.size() - kTailBytes);
  }
}

double cpu_seconds(const rusage& usage) {
  const auto seconds_of = [](const timeval& t) {
    return static_cast<double>(t.tv_sec) + 1e-6 * static_cast<double>(t.tv_usec);
  };
  return seconds_of(usage.ru_utime) + seconds_of(usage.ru_stime);
}

// Limits end a child before it ends itself.
struct Limits {
  int stop;         // a file that becomes readable, or -1
  double deadline;  // by seconds()
  size_t most_output;
};

// Waits for the child and reads what it prints, because full pipes would block it. Returns how the child came
// to its end.
ChildEnd read_until_end(int pid_file, int output, int error, const Limits& limits, ChildResult& result) {
  pollfd files[] = {{pid_file, POLLIN, 0}, {output, POLLIN, 0}, {error, POLLIN, 0}, {limits.stop, POLLIN, 0}};
  while (true) {
    const double left = limits.deadline - seconds();
    if (left <= 0) return ChildEnd::timed_out;
    const int milliseconds = static_cast<int>(std::min(left * 1e3 + 1, 1e9));
    if (poll(files, 4, milliseconds) < 0 && errno != EINTR) fail("poll");
    if (!append_first(output, result.output, limits.most_output)) return ChildEnd::flooded;
    append_tail(error, result.error_tail);
    // A closed pipe would be readable forever, so poll() no longer watches it.
    if ((files[1].revents & POLLHUP) != 0) files[1].fd = -1;
    if ((files[2].revents & POLLHUP) != 0) files[2].fd = -1;
    if ((files[0].revents & POLLIN) != 0) return ChildEnd::exited;
    if ((files[3].revents & POLLIN) != 0) return ChildEnd::stopped;
  }
}

pid_t start(const std::vector<std::string>& arguments, int output, int error) {
  const File input(open("/dev/null", O_RDONLY | O_CLOEXEC));
  std::vector<char*> raw;
  for (const std::string& argument : arguments) raw.push_back(const_cast<char*>(argument.c_str()));
  raw.push_back(nullptr);
  const pid_t parent = getpid();
  const pid_t child = fork();
  if (child < 0) fail("fork");
  if (child == 0) become(raw.data(), parent, input.get(), output, error);
  // Both parent and child set the group, since either of them may run first.
  setpgid(child, child);
  return child;
}

}  // namespace

StopSignals::StopSignals() : signals_(stop_signals()) {
  sigprocmask(SIG_BLOCK, &signals_, nullptr);
  file_ = signalfd(-1, &signals_, SFD_CLOEXEC | SFD_NONBLOCK);
  if (file_ < 0) fail("signalfd");
}

StopSignals::~StopSignals() {
  signalfd_siginfo taken;
  while (read(file_, &taken, sizeof taken) > 0) {
  }
  close(file_);
  sigprocmask(SIG_UNBLOCK, &signals_, nullptr);
}

bool StopSignals::wait(double seconds) {
  pollfd file = {file_, POLLIN, 0};
  if (poll(&file, 1, static_cast<int>(seconds * 1e3)) > 0) stopped_ = true;
  return stopped_;
}

ChildResult run_child(const std::vector<std::string>& arguments, double limit_seconds, int stop,
                      size_t most_output) {
  Pipe output, error;
  const double begin = seconds();
  const pid_t child = start(arguments, output.write_end.get(), error.write_end.get());
  output.write_end.close_now();
  error.write_end.close_now();
  // The wrapper of glibc 2.36 cannot be called from C++, because its header lacks extern "C".
  const File pid_file(static_cast<int>(syscall(SYS_pidfd_open, child, 0)));
  if (pid_file.get() < 0) {
    kill(-child, SIGKILL);
    waitpid(child, nullptr, 0);
    fail("pidfd_open");
  }
  ChildResult result;
  result.end = read_until_end(pid_file.get(), output.read_end.get(), error.read_end.get(),
                              {stop, begin + limit_seconds, most_output}, result);
  // The rest of the group is killed even if the child ended by itself.
  kill(-child, SIGKILL);
  int status = 0;
  rusage usage{};
  while (wait4(child, &status, 0, &usage) < 0 && errno == EINTR) {
  }
  const bool fits = append_first(output.read_end.get(), result.output, most_output);
  if (!fits && result.end == ChildEnd::exited) result.end = ChildEnd::flooded;
  append_tail(error.read_end.get(), result.error_tail);
  if (result.error_tail.size() > kTailBytes)
    result.error_tail.erase(0, result.error_tail.size() - kTailBytes);
  if (result.end == ChildEnd::flooded)
    result.error_tail.insert(
        0, fmt::format("moehill: the run printed more than {} bytes; what follows is lost\n", most_output));
  result.seconds = seconds() - begin;
  result.cpu_seconds = cpu_seconds(usage);
  result.status = WIFSIGNALED(status) ? 128 + WTERMSIG(status) : WEXITSTATUS(status);
  if (result.end == ChildEnd::exited && WIFSIGNALED(status)) result.end = ChildEnd::signalled;
  return result;
}

std::optional<StoredJson> object_in(const std::string& line) {
  try {
    return std::optional<StoredJson>(
        std::in_place, parse_strict_json<StoredJson>(line, {"a line of output", "correct the program"}));
  } catch (const InputError&) {
    return std::nullopt;
  }
}

std::vector<std::string> launched(const std::string& launcher, int64_t devices,
                                  const std::vector<std::string>& program) {
  constexpr const char* kDevices = "{devices}";
  std::vector<std::string> arguments;
  std::istringstream words(launcher);
  for (std::string word; words >> word;) {
    for (size_t at; (at = word.find(kDevices)) != std::string::npos;)
      word.replace(at, std::strlen(kDevices), std::to_string(devices));
    arguments.push_back(word);
  }
  arguments.insert(arguments.end(), program.begin(), program.end());
  return arguments;
}

// Warnings and estimates may come first, so the program's own message may begin any line.
std::string error_line(const std::string& error_tail) {
  size_t begin = error_tail.rfind("moehill: ", 0) == 0 ? 0 : error_tail.find("\nmoehill: ");
  begin = begin == std::string::npos ? 0 : error_tail[begin] == '\n' ? begin + 1 : begin;
  return error_tail.substr(begin, error_tail.find('\n', begin) - begin);
}

}  // namespace moehill
