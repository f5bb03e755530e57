// This header is for tests of commands. Its functions split a line into words, and run the program in a
// temporary folder.
//
//     class SweepTest : public CommandFixture {
//      protected:
//       SweepTest() : CommandFixture("sweep") {}
//     };
//     TEST_F(SweepTest, RefusesAMissingFile) { EXPECT_EQ(run("nowhere.toml"), 2); }
#pragma once

#include <fcntl.h>
#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "moehill/base/folder_fixture.h"
#include "moehill/cli/commands.h"
#include "moehill/machine/topology.h"

namespace moehill {

inline std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

inline std::string contents(const std::filesystem::path& path) {
  std::ifstream file(path, std::ios::binary);
  return {std::istreambuf_iterator<char>(file), {}};
}

// Outcome is what a run of the program leaves behind.
struct Outcome {
  int status = -1;  // 128 + signal for a process that a signal ended
  std::string out, err;
};

// Runs the program by a shell in `folder`; its output goes to the files `out` and `err` there. `environment`
// stands before the program's name, for example "MOEHILL_TUNED=off", and `redirection` after all arguments.
inline Outcome run_program(const std::filesystem::path& folder, const std::string& arguments,
                           const std::string& environment = "", const std::string& redirection = "") {
  const std::string line = "cd " + folder.string() + " && " + environment + " " MOEHILL_BINARY " " +
                           arguments + " >out 2>err </dev/null " + redirection;
  const int raw = std::system(line.c_str());
  return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), contents(folder / "out"),
          contents(folder / "err")};
}

// Ends this process as the program would end it.
[[noreturn]] inline void become_program(const std::filesystem::path& folder,
                                        const std::string& arguments) noexcept {
  const int in = open("/dev/null", O_RDONLY);
  const bool there = chdir(folder.c_str()) == 0;
  const int out = creat("out", 0600), err = creat("err", 0600);
  if (!there || dup2(in, STDIN_FILENO) < 0 || dup2(out, STDOUT_FILENO) < 0 || dup2(err, STDERR_FILENO) < 0)
    _exit(127);
  std::exit(run_command_line(words(arguments)));
}

// Does the same as run_program() in a child of this process. The child has the libraries already, so it takes
// a fifth of the CPU time of a program of its own. That is for corpora of bad inputs, and not for commands
// that start the program anew, since they would start the test.
inline Outcome run_in_child(const std::filesystem::path& folder, const std::string& arguments) {
  [[maybe_unused]] static const Topology loads_plugins = detect_topology();
  std::fflush(nullptr);  // the child would write what waits here, too
  const pid_t child = fork();
  if (child == 0) become_program(folder, arguments);
  int raw = 127 << 8;
  if (child > 0) waitpid(child, &raw, 0);
  return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), contents(folder / "out"),
          contents(folder / "err")};
}

// CommandFixture runs one subcommand in a temporary folder of the test.
class CommandFixture : public testing::Test {
 protected:
  explicit CommandFixture(std::string command) : command_(std::move(command)) {}

  std::string read(const std::string& name) const { return contents(place_.file(name)); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }
  // Returns the exit status. The command's output is then in the files `out` and `err`.
  int run(const std::string& arguments) const {
    return run_program(place_.path(), command_ + " " + arguments).status;
  }
  int run_in_child(const std::string& arguments) const {
    return moehill::run_in_child(place_.path(), command_ + " " + arguments).status;
  }

  const TemporaryFolder place_;
  std::string command_;
  const std::string folder_ = place_.path();
};

}  // namespace moehill
