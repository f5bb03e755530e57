// Runs command lines of moehill for tests/bad_inputs, each in a child of this process. The child has the
// libraries already, and hwloc's plugins, so that it takes a fifth of the CPU time of a program of its own.
//   command_server
// A request on standard input is a line with the numbers of variables and of arguments, then these,
// NAME=value and words, each with a zero byte behind it. The answer is a line with the exit status, the
// milliseconds of CPU time and the numbers of bytes on standard output and on standard error, then these
// bytes. The status is 128 + n for signal n, which is SIGALRM after two minutes.
#include <fcntl.h>
#include <sys/mman.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <string>
#include <vector>

#include "moehill/cli/commands.h"
#include "moehill/machine/topology.h"

namespace {

constexpr unsigned kMostSeconds = 120;
constexpr rlim_t kMostBytes = 16'000'000'000;  // of addresses

std::string read_word() {
  std::string word;
  for (int c = std::getchar(); c > 0; c = std::getchar()) word += static_cast<char>(c);
  return word;
}

void run_child(const std::vector<std::string>& variables, const std::vector<std::string>& arguments,
               int output, int errors) {
  const int nothing = open("/dev/null", O_RDWR);
  dup2(nothing, STDIN_FILENO);
  dup2(output, STDOUT_FILENO);
  dup2(errors, STDERR_FILENO);
  close(nothing);
  clearenv();
  for (const std::string& variable : variables) {
    const size_t equals = variable.find('=');
    setenv(variable.substr(0, equals).c_str(), variable.substr(equals + 1).c_str(), 1);
  }
#if !defined(__SANITIZE_ADDRESS__) && !defined(__SANITIZE_THREAD__)  // which take all addresses
  const rlimit limit{kMostBytes, kMostBytes};
  setrlimit(RLIMIT_AS, &limit);
#endif
  alarm(kMostSeconds);
  std::exit(moehill::run_command_line(arguments));
}

long milliseconds(const timeval& time) { return 1000 * time.tv_sec + time.tv_usec / 1000; }

std::string taken_contents(int file) {
  std::string text(static_cast<size_t>(lseek(file, 0, SEEK_END)), '\0');
  if (pread(file, text.data(), text.size(), 0) != std::ssize(text)) text = "unreadable";
  close(file);
  return text;
}

}  // namespace

int main() {
  static_cast<void>(moehill::detect_topology());  // loads the plugins
  unsigned num_variables = 0, num_arguments = 0;
  while (std::scanf("%u %u", &num_variables, &num_arguments) == 2) {
    std::getchar();  // the end of the line
    std::vector<std::string> variables(num_variables), arguments(num_arguments);
    for (std::string& word : variables) word = read_word();
    for (std::string& word : arguments) word = read_word();
    const int output = memfd_create("output", MFD_CLOEXEC), errors = memfd_create("errors", MFD_CLOEXEC);
    const pid_t child = fork();
    if (child == 0) run_child(variables, arguments, output, errors);
    int status = 0;
    rusage used{};
    if (child < 0 || wait4(child, &status, 0, &used) != child) return 1;
    const std::string shown = taken_contents(output), said = taken_contents(errors);
    std::printf("%d %ld %zu %zu\n", WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status),
                milliseconds(used.ru_utime) + milliseconds(used.ru_stime), shown.size(), said.size());
    std::fwrite(shown.data(), 1, shown.size(), stdout);
    std::fwrite(said.data(), 1, said.size(), stdout);
    std::fflush(stdout);
  }
  return 0;
}
