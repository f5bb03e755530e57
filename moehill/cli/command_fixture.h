// Tests of commands share this: words of a line, and the program, run in a folder of its own.
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

struct Outcome {
  int status = -1;  // 128 + signal for a process that a signal ended
  std::string out, err;
};

// Runs the program by a shell in `folder`, where the files `out` and `err` have what it says. The words of
// `environment` stand before its name, `redirection` behind all.
inline Outcome run_program(const std::filesystem::path& folder, const std::string& arguments,
                           const std::string& environment = "", const std::string& redirection = "") {
  const std::string line = "cd " + folder.string() + " && " + environment + " " MOEHILL_BINARY " " +
                           arguments + " >out 2>err </dev/null " + redirection;
  const int raw = std::system(line.c_str());
  return {WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw), contents(folder / "out"),
          contents(folder / "err")};
}

// Runs one command in a folder of the test's own.
class CommandFixture : public testing::Test {
 protected:
  explicit CommandFixture(std::string command) : command_(std::move(command)) {}

  std::string read(const std::string& name) const { return contents(place_.file(name)); }
  void write(const std::string& name, const std::string& text) const {
    std::ofstream(folder_ + "/" + name, std::ios::binary) << text;
  }
  // Returns the exit status; what the program says is in the files `out` and `err`.
  int run(const std::string& arguments) const {
    return run_program(place_.path(), command_ + " " + arguments).status;
  }

  const TemporaryFolder place_;
  std::string command_;
  const std::string folder_ = place_.path();
};

}  // namespace moehill
