// This header is for tests of commands. Its functions split a line into words, and run the program in a
// temporary folder.
//
//     class SweepTest : public CommandFixture {
//      protected:
//       SweepTest() : CommandFixture("sweep") {}
//     };
//     TEST_F(SweepTest, RefusesAMissingFile) { EXPECT_EQ(run("nowhere.toml"), 2); }
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <iterator>
#include <sstream>
#include <string>
#include <vector>

#include "moehill/base/folder_fixture.h"

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

  const TemporaryFolder place_;
  std::string command_;
  const std::string folder_ = place_.path();
};

}  // namespace moehill
