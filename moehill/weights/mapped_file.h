// A file in memory, for reading.
#pragma once

#include <cstddef>
#include <span>
#include <string>

namespace moehill {

// Throws InputError for what is no regular file, cannot be read, or is empty. Memory is taken by the pages
// that are read, not by the mapping. A file that somebody cuts off while it is mapped raises SIGBUS where its
// pages are read next: as long as one file is mapped, this ends the process with exit status 2 and says so.
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

// Tells the system which part of a mapped file is read next, and which is not read again soon.
void prefetch_pages(std::span<const std::byte> bytes);
void release_pages(std::span<const std::byte> bytes);

}  // namespace moehill
