// MappedFile is a file that is mapped into memory for reading, so that a model of many gigabytes need not be
// copied first.
//
//   const MappedFile file("model.safetensors");
//   file.bytes();   // valid as long as `file`
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace moehill {

// The constructor throws InputError for a path that is no regular file, cannot be read, or is empty. The
// mapping itself takes no memory; the pages that are read do. If somebody truncates the file while it is
// mapped, reading the lost pages raises SIGBUS. While at least one file is mapped, that signal ends the
// process with exit status 2 and a message.
class MappedFile {
 public:
  explicit MappedFile(const std::string& path);
  ~MappedFile();
  MappedFile(const MappedFile&) = delete;
  MappedFile& operator=(const MappedFile&) = delete;

  const std::string& path() const { return path_; }
  std::span<const std::byte> bytes() const { return bytes_; }

 private:
  std::string path_;
  std::span<const std::byte> bytes_;
};

// prefetch_pages() tells the system which part of a mapped file will be read next. release_pages() tells it
// which part will not be read again soon.
void prefetch_pages(std::span<const std::byte> bytes);
void release_pages(std::span<const std::byte> bytes);

}  // namespace moehill
