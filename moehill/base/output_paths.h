// Output files: whether one can be written is known before anything runs, and it is written whole or not at
// all.
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace moehill {

// Throw InputError naming `option` when the file, or the folder with its files, cannot be written. Only
// regular files are: a device or a pipe that is named by mistake stays what it is. Leave nothing behind.
void require_writable_file(const std::string& option, const std::string& path);
void require_writable_folder(const std::string& option, const std::string& path);

// A file or folder that an option names.
struct NamedPath {
  std::string option, path;
  bool is_output = false;
};
// Throws InputError naming two options of which one's output is the other's file or folder, by whatever
// spelling or link. "" and "-" are no files.
void require_distinct_outputs(const std::vector<NamedPath>& paths);

// A file in the making. `path` keeps what it had, or stays absent, until keep() gives it the new contents at
// once; a full disk or a killed process change nothing. A link at `path` stays one: the file that it leads to
// is replaced. All that fails throws std::runtime_error with path, reason and the bytes that were to be
// written.
class NewFile {
 public:
  explicit NewFile(const std::string& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, size_t bytes);
  void keep();  // on the disk when it returns

 private:
  [[noreturn]] void fail(int error) const;

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;  // where links lead to
  std::string name_;  // of the unfinished file
  bool has_name_ = false;
  size_t bytes_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
};

// Replaces the file's contents by a NewFile.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace moehill
