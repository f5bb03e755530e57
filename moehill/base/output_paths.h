// This header finds out before anything runs whether an output file can be written, and writes files whole or
// not at all. So a run of an hour does not fail at its last line, and no reader ever sees half a file.
//
//   require_writable_file("--output", path);   // at the start: throws InputError
//   NewFile file(path);                        // at the end
//   file.write(text.data(), text.size());
//   file.keep();                               // without it, `path` stays as it was
#pragma once

#include <cstdio>
#include <memory>
#include <string>
#include <vector>

namespace moehill {

// These throw InputError that names `option` if the file, or files in the folder, cannot be written. A file
// must be a regular one or not exist yet: a device or a pipe that was named by mistake is refused and not
// touched, and so is "-". None of them leaves anything behind.
void require_writable_file(const std::string& option, const std::string& path);
// Does the same for an option that takes "-" as standard output, which a refusal of a device then names.
void require_writable_output(const std::string& option, const std::string& path);
void require_writable_folder(const std::string& option, const std::string& path);

// Makes the folder of a file with this path, and the folders above it. Throws InputError that names `option`
// if the system refuses.
void make_folder_of(const std::string& option, const std::string& path);
// Makes the folder `path`, unless it is there, and the folders above it. Throws std::runtime_error with path
// and reason: the disk may have become full since require_writable_folder().
void make_folder(const std::string& path);

// NamedPath is a file or folder that an option names, for require_distinct_outputs().
struct NamedPath {
  std::string option, path;
  bool is_output = false;
};
// Throws InputError if two options name the same place and at least one of them writes there. It compares
// places and not spellings: links and ".." are followed. An empty path and "-" name no file and are ignored.
void require_distinct_outputs(const std::vector<NamedPath>& paths);

// NewFile is a file in the making. `path` keeps its old contents, or stays absent, until keep() puts the new
// contents there in one step. So a full disk or a killed process changes nothing. If `path` is a link, the
// link stays, and the file to which it leads is replaced. Every failure throws std::runtime_error with the
// path, the reason and the number of bytes of the new contents.
class NewFile {
 public:
  explicit NewFile(const std::string& path);
  ~NewFile();
  NewFile(const NewFile&) = delete;
  NewFile& operator=(const NewFile&) = delete;

  void write(const void* data, size_t bytes);
  void keep();  // when it returns, the contents are on the disk

 private:
  [[noreturn]] void fail(int error) const;

  struct Close {
    void operator()(std::FILE* file) const { std::fclose(file); }
  };
  std::string path_;  // the file to replace, with links followed
  std::string name_;  // the name of the new file until keep() renames it, if it needs one
  bool has_name_ = false;
  size_t bytes_ = 0;
  std::unique_ptr<std::FILE, Close> file_;
};

// Replaces the contents of the file by `text`, by means of a NewFile.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace moehill
