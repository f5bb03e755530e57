// Tests output paths: a bad one is refused with a reason, and no file is left behind in either case.
#include "moehill/base/output_paths.h"

#include <gtest/gtest.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

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

TEST(OutputPaths, TheFolderOfAFileIsMadeOrRefusedInWords) {
  const fs::path folder = fresh_folder();
  make_folder_of("--table", (folder / "a" / "b" / "table.json").string());
  EXPECT_TRUE(fs::is_directory(folder / "a" / "b"));
  make_folder_of("--table", "table.json");  // lies in the current folder
  try {
    make_folder_of("--table", "/dev/null/a/table.json");
    FAIL();
  } catch (const InputError& error) {
    EXPECT_EQ(
        std::string(error.what()).find("--table: got '/dev/null/a/table.json' (Not a directory), allowed: "),
        0u)
        << error.what();
  }
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
  EXPECT_NE(message(require_writable_file, (folder / "new").string() + "/").find("a folder"),
            std::string::npos);
  EXPECT_NE(message(require_writable_folder, "/nowhere/x/y").find("No such file"), std::string::npos);
  for (const auto require : {require_writable_file, require_writable_folder})
    EXPECT_NE(message(require, (folder / std::string(256, 'n')).string()).find("File name too long"),
              std::string::npos);
  EXPECT_NE(message(require_writable_folder, (folder / "file").string()).find("not a folder"),
            std::string::npos);
  EXPECT_EQ(message(require_writable_file, "/nowhere/x").rfind("--out: got '/nowhere/x'", 0), 0u);
  const std::string device =
      "--out: got '/dev/null' (no regular file), allowed: a file that can be written; ";
  EXPECT_EQ(message(require_writable_file, "/dev/null"),
            device + "name a file, and copy it there afterwards");
  EXPECT_EQ(message(require_writable_output, "/dev/null"),
            device + "write - for standard output, or name a file");
  EXPECT_EQ(message(require_writable_output, "-"), "accepted");
}

TEST(OutputPaths, ADashIsNoFileOfThatName) {
  for (const auto require : {require_writable_file, require_writable_folder}) {
    try {
      require("--export-csv", "-");
      ADD_FAILURE() << "accepted";
    } catch (const InputError& error) {
      EXPECT_EQ(std::string(error.what()).rfind("--export-csv: got '-', which means standard output", 0), 0u)
          << error.what();
    }
  }
}

TEST(OutputPaths, AFolderIsNotMadeInThePlaceOfALinkThatLeadsNowhere) {
  const fs::path folder = fresh_folder();
  fs::create_symlink("nowhere", folder / "link");
  EXPECT_THROW(require_writable_folder("--dump", (folder / "link").string()), InputError);
  fs::create_directory(folder / "nowhere");
  require_writable_folder("--dump", (folder / "link").string());
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
  require_distinct_outputs({{"--a", "in"}, {"--b", "in"}});  // two options may read one file
}

TEST(OutputPaths, WhatIsNoFileStaysWhatItIs) {
  const std::string pipe = (fresh_folder() / "pipe").string();
  ASSERT_EQ(mkfifo(pipe.c_str(), 0600), 0);
  for (const std::string& path : {pipe, std::string("/dev/full")}) {
    EXPECT_THROW(require_writable_file("--out", path), InputError);
    EXPECT_THROW(write_text_file(path, "x"), std::runtime_error);
    EXPECT_FALSE(fs::is_regular_file(path));
    EXPECT_TRUE(fs::exists(path));
  }
}

TEST(OutputPaths, ALinkStaysOneAndItsFileIsReplaced) {
  const fs::path folder = fresh_folder();
  fs::create_directory(folder / "sub");
  fs::create_symlink("sub/file", folder / "link");  // it leads to nothing yet
  for (const std::string text : {"new", "newer"}) {
    require_writable_file("--out", (folder / "link").string());
    write_text_file((folder / "link").string(), text);
    EXPECT_TRUE(fs::is_symlink(folder / "link"));
    EXPECT_EQ(fs::file_size(folder / "sub" / "file"), text.size());
  }
}

TEST(OutputPaths, LinksThatFormACircleStayThem) {
  const fs::path folder = fresh_folder();
  fs::create_symlink("b", folder / "a");
  fs::create_symlink("a", folder / "b");
  const std::string path = (folder / "a").string();
  EXPECT_THROW(require_writable_file("--out", path), InputError);
  EXPECT_THROW(write_text_file(path, "x"), std::runtime_error);
  EXPECT_TRUE(fs::is_symlink(folder / "a"));
  EXPECT_TRUE(fs::is_symlink(folder / "b"));
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 2);
}

TEST(OutputPaths, AFolderIsMadeOrRefusedInWords) {
  const fs::path folder = fresh_folder();
  for (int i = 0; i < 2; ++i) make_folder((folder / "a" / "b").string());
  EXPECT_TRUE(fs::is_directory(folder / "a" / "b"));
  write_text_file((folder / "file").string(), "");
  try {
    make_folder((folder / "file" / "b").string());
    ADD_FAILURE() << "made";
  } catch (const std::runtime_error& error) {
    EXPECT_EQ(std::string(error.what()).rfind("cannot make the folder '", 0), 0u) << error.what();
  }
}

TEST(OutputPaths, TheOldFileKeepsItsRightsAndStaysUntilTheNewIsWhole) {
  const fs::path folder = fresh_folder(), path = folder / "file";
  write_text_file(path.string(), "old");
  fs::permissions(path, fs::perms::owner_read | fs::perms::owner_write);
  {
    NewFile abandoned(path.string());
    abandoned.write("half", 4);
    EXPECT_EQ(fs::file_size(path), 3u);
  }
  EXPECT_EQ(fs::file_size(path), 3u);
  NewFile file(path.string());
  file.write("whole", 5);
  file.keep();
  EXPECT_EQ(fs::file_size(path), 5u);
  EXPECT_EQ(fs::status(path).permissions(), fs::perms::owner_read | fs::perms::owner_write);
  EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
}

TEST(OutputPaths, AKilledWriterLeavesTheOldFileAndNothingElse) {
  const fs::path folder = fresh_folder(), path = folder / "file";
  write_text_file(path.string(), "old");
  for (int i = 0; i < 20; ++i) {
    const pid_t writer = fork();
    ASSERT_GE(writer, 0);
    if (writer == 0) {
      NewFile file(path.string());
      const std::string piece(1 << 16, 'x');
      for (int n = 0; n < i; ++n) file.write(piece.data(), piece.size());
      raise(SIGKILL);
    }
    waitpid(writer, nullptr, 0);
    EXPECT_EQ(fs::file_size(path), 3u);
    EXPECT_EQ(std::distance(fs::directory_iterator(folder), fs::directory_iterator()), 1);
  }
}

TEST(OutputPaths, AFileThatDoesNotFitLeavesNoPart) {
  const std::string path = (fresh_folder() / "file").string();
  rlimit before{};
  ASSERT_EQ(getrlimit(RLIMIT_FSIZE, &before), 0);
  const auto handler = std::signal(SIGXFSZ, SIG_IGN);
  const rlimit small{4096, before.rlim_max};
  ASSERT_EQ(setrlimit(RLIMIT_FSIZE, &small), 0);
  try {
    write_text_file(path, std::string(1 << 20, 'x'));
    ADD_FAILURE() << "written";
  } catch (const std::runtime_error& error) {
    EXPECT_NE(std::string(error.what()).find("1048576 bytes"), std::string::npos) << error.what();
  }
  setrlimit(RLIMIT_FSIZE, &before);
  std::signal(SIGXFSZ, handler);
  EXPECT_FALSE(fs::exists(path));
  EXPECT_TRUE(fs::is_empty(fs::path(path).parent_path()));
}

}  // namespace
}  // namespace moehill
