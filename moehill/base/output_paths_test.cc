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
