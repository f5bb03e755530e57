// Output paths: whether results can be written is known before anything runs.
#pragma once

#include <string>
#include <vector>

namespace moehill {

// Throw InputError naming `option` when the file, or the folder with its files, cannot be written. Leave
// nothing behind.
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

// Replaces the file's contents. Throws std::runtime_error with path and reason, and leaves no part of a file.
void write_text_file(const std::string& path, const std::string& text);

}  // namespace moehill
