// Tests of commands share this: words of a line, and a folder of their own to run the program in.
#pragma once

#include <gtest/gtest.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <sstream>
#include <string>
#include <vector>

namespace moehill {

inline std::vector<std::string> words(const std::string& line) {
  std::istringstream stream(line);
  std::vector<std::string> result;
  for (std::string word; stream >> word;) result.push_back(word);
  return result;
}

class CommandFixture : public testing::Test {
 protected:
  explicit CommandFixture(std::string command)
      : command_(std::move(command)),
        folder_(testing::TempDir() + "moehill_" + command_ + "_" + std::to_string(getpid())) {
    std::filesystem::remove_all(folder_);
    std::filesystem::create_directories(folder_);
  }
  ~CommandFixture() override { std::filesystem::remove_all(folder_); }

  std::string read(const std::string& name) const {
    std::stringstream text;
    text << std::ifstream(folder_ + "/" + name).rdbuf();
    return text.str();
  }
  // Returns the exit status; what the program says is in the files `out` and `err`.
  int run(const std::string& arguments) const {
    const std::string line =
        "cd " + folder_ + " && " MOEHILL_BINARY " " + command_ + " " + arguments + " >out 2>err </dev/null";
    const int raw = std::system(line.c_str());
    return WIFEXITED(raw) ? WEXITSTATUS(raw) : 128 + WTERMSIG(raw);
  }

  const std::string command_, folder_;
};

}  // namespace moehill
