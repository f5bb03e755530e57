// Output paths: refused with a reason, and nothing left behind either way.
#include "moehill/base/output_paths.h"

#include <gtest/gtest.h>
#include <sys/resource.h>

#include <csignal>
#include <filesystem>
#include <stdexcept>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

namespace fs = std::filesystem;

TEST(OutputPaths, NewFilesAndFoldersLeaveNoTrace) {
  const fs::path folder = fresh_folder();
  require_writable_file("--json", (folder / "new.jsonl").string());
  require_writable_folder("--dump", (folder / "new").string());
  require_writable_folder("--dump", (folder / "new/").string());
  require_writable_folder("--dump", folder.string());
  EXPECT_TRUE(fs::is_empty(folder));
}

TEST(OutputPaths, OldContentsStay) {
  const fs::path file = fresh_folder() / "old.jsonl";
  write_text_file(file.string(), "kept\n");
  require_writable_file("--json", file.string());
  EXPECT_EQ(fs::file_size(file), 5u);
}

TEST(OutputPaths, RefusalsNameOptionAndReason) {
  const fs::path folder = fresh_folder();
  write_text_file((folder / "file").string(), "");
  const auto message = [](auto&& require, const std::string& path) -> std::string {
    try {
      require("--out", path);
      return "accepted";
    } catch (const InputError& error) {
      return error.what();
    }
  };
  EXPECT_NE(message(require_writable_file, "/nowhere/x").find("No such file"), std::string::npos);
  EXPECT_NE(message(require_writable_file, folder.string()).find("a folder"), std::string::npos);
  EXPECT_NE(message(require_writable_folder, "/nowhere/x/y").find("No such file"), std::string::npos);
  EXPECT_NE(message(require_writable_folder, (folder / "file").string()).find("not a folder"),
            std::string::npos);
  EXPECT_EQ(message(require_writable_file, "/nowhere/x").rfind("--out: got '/nowhere/x'", 0), 0u);
}

TEST(OutputPaths, NothingElseMayNameAnOutput) {
  const fs::path folder = fresh_folder();
  write_text_file((folder / "file").string(), "");
  fs::create_directory(folder / "sub");
  fs::create_symlink("file", folder / "link");
  fs::create_symlink("new", folder / "to_new");
  fs::create_symlink(folder / "sub", folder / "to_sub");
  fs::create_hard_link(folder / "file", folder / "twin");
  const auto collide = [&](const std::string& a, const std::string& b, bool a_is_output = true) {
    const auto at = [&](const std::string& name) {
      return name.empty() || name == "-" ? name : folder.string() + "/" + name;
    };
    try {
      require_distinct_outputs({{"--a", at(a), a_is_output}, {"--in", at("sub/in")}, {"--b", at(b), true}});
      return false;
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("--a, --b: got '", 0), 0u) << error.what();
      return true;
    }
  };
  for (const auto& [a, b] : {std::pair<std::string, std::string>{"x", "x"},
                             {"x", "./x"},
                             {"x", "sub/../x"},
                             {"x", "nowhere/../x"},
                             {"x", "x/"},
                             {"sub", "sub/."},
                             {"file", "link"},
                             {"file", "twin"},
                             {"new", "to_new"},
                             {"sub/x", "to_sub/x"}}) {
    EXPECT_TRUE(collide(a, b)) << a << " " << b;
    EXPECT_TRUE(collide(b, a)) << a << " " << b;
    EXPECT_TRUE(collide(a, b, false)) << a << " " << b;
  }
  for (const auto& [a, b] :
       {std::pair<std::string, std::string>{"x", "y"}, {"x", "sub/x"}, {"", ""}, {"-", "-"}})
    EXPECT_FALSE(collide(a, b)) << a << " " << b;
  require_distinct_outputs({{"--a", "in"}, {"--b", "in"}});  // two may read one file
}

TEST(OutputPaths, FullDiskIsAnError) { EXPECT_THROW(write_text_file("/dev/full", "x"), std::runtime_error); }

TEST(OutputPaths, AFileThatDoesNotFitLeavesNoPart) {
  const std::string path = (fresh_folder() / "file").string();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  EXPECT_THROW(write_text_file(path, std::string(1 << 20, 'x')), std::runtime_error);
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(fs::exists(path));
}

}  // namespace
}  // namespace moehill
