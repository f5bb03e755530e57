// This header makes folders for tests. Tests write files only there, so that nothing stays behind when they
// end or fail; tools/check_layers refuses other temporary paths. It is not for the program itself.
//
//   const TemporaryFolder folder;
//   write_text_file(folder.file("a.json"), "{}");  // gone with `folder`
#pragma once

#include <unistd.h>

#include <cerrno>
#include <filesystem>
#include <string>
#include <system_error>

namespace moehill {

// TemporaryFolder is an empty folder. Its destructor removes the folder with all that is in it, but not in a
// child of the process that made it.
class TemporaryFolder {
 public:
  TemporaryFolder() {
    std::string name = (std::filesystem::temp_directory_path() / "moehill-test-XXXXXX").string();
    if (mkdtemp(name.data()) == nullptr)
      throw std::filesystem::filesystem_error(name, std::error_code(errno, std::generic_category()));
    path_ = name;
  }
  ~TemporaryFolder() {
    if (getpid() != owner_) return;
    std::error_code ignored;
    std::filesystem::remove_all(path_, ignored);
  }
  TemporaryFolder(const TemporaryFolder&) = delete;
  TemporaryFolder& operator=(const TemporaryFolder&) = delete;

  const std::filesystem::path& path() const { return path_; }
  std::string file(const std::string& name) const { return (path_ / name).string(); }

 private:
  std::filesystem::path path_;
  const pid_t owner_ = getpid();
};

// Makes an empty folder that is removed when the test program ends. Each call makes another one.
inline std::filesystem::path fresh_folder() {
  static const TemporaryFolder all;
  static int number = 0;
  const std::filesystem::path folder = all.path() / std::to_string(number++);
  std::filesystem::create_directory(folder);
  return folder;
}

}  // namespace moehill
