#include "moehill/base/input_file.h"

#include <gtest/gtest.h>
#include <sys/stat.h>

#include <cstdlib>
#include <sstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/base/output_paths.h"

namespace moehill {
namespace {

std::string refusal(const std::string& path, int64_t most = 100) {
  try {
    read_input_file({"--in", path, "a text", "name another"}, most);
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

TEST(InputFile, IsReadWhole) {
  const std::string path = (fresh_folder() / "x").string();
  const std::string text("a\0b\n", 4);
  write_text_file(path, text);
  EXPECT_EQ(read_input_file({"--in", path, "a text", "name another"}, 4), text);
  EXPECT_EQ(refusal(path, 3), "--in: got '" + path + "' (more than 3 bytes), allowed: a text; name another");
}

TEST(InputFile, WhatIsNoRegularFileIsRefusedAtOnce) {
  const std::filesystem::path folder = fresh_folder();
  const std::string pipe = (folder / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path :
       {pipe, std::string("/dev/zero"), std::string("/dev/full"), std::string("/proc/kmsg")})
    EXPECT_NE(refusal(path).find("(no regular file)"), std::string::npos) << refusal(path);
  EXPECT_NE(refusal(folder.string()).find("(a folder)"), std::string::npos);
  EXPECT_NE(refusal((folder / "none").string()).find("(no such file)"), std::string::npos);
  EXPECT_NE(refusal((folder / "pipe" / "x").string()).find("(Not a directory)"), std::string::npos);
  EXPECT_LT(refusal(std::string(100000, 'x')).size(), 500u);
  EXPECT_EQ(refusal("a\033\nb").find_first_of("\033\n"), std::string::npos);
}

TEST(InputFile, AVariableNamesAFolderOrIsRefused) {
  constexpr const char* kName = "MOEHILL_TEST_FOLDER";
  const std::filesystem::path folder = fresh_folder();
  write_text_file((folder / "file").string(), "");
  unsetenv(kName);
  EXPECT_EQ(folder_of_variable(kName, "a folder"), "");
  for (const std::string& value : {std::string(), folder.string()}) {
    setenv(kName, value.c_str(), 1);
    EXPECT_EQ(folder_of_variable(kName, "a folder"), value);
  }
  for (const char* other : {"file", "none", "file/x"}) {
    setenv(kName, (folder / other).c_str(), 1);
    try {
      folder_of_variable(kName, "a folder of presets");
      ADD_FAILURE() << other;
    } catch (const InputError& error) {
      const std::string message = error.what();
      EXPECT_EQ(message.rfind("MOEHILL_TEST_FOLDER: got '", 0), 0u) << message;
      EXPECT_NE(message.find("allowed: a folder of presets; name such"), std::string::npos) << message;
    }
  }
  unsetenv(kName);
}

TEST(InputFile, LinesEndWithTheStreamOrTheirEnd) {
  std::istringstream stream("a\n\nbc");
  const InputFile source{"--in", "x", "lines", "name another"};
  std::string line;
  std::vector<std::string> lines;
  while (read_input_line(stream, line, source, 2)) lines.push_back(line);
  EXPECT_EQ(lines, (std::vector<std::string>{"a", "", "bc"}));
  std::istringstream lengthy("abc");
  EXPECT_THROW(read_input_line(lengthy, line, source, 2), InputError);
}

}  // namespace
}  // namespace moehill
