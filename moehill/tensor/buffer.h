// An aligned block of memory that nobody has touched yet: the team that uses it places its pages by writing
// first.
#pragma once

#include <cstddef>
#include <utility>

namespace moehill {

// Owns `bytes` of zero pages, 64-byte aligned at least (2 MiB and marked for huge pages when large).
// Throws std::bad_alloc when the system refuses.
class Buffer {
 public:
  Buffer() = default;
  explicit Buffer(size_t bytes);
  ~Buffer() { release(); }
  Buffer(Buffer&& other) noexcept { swap(other); }
  Buffer& operator=(Buffer&& other) noexcept {
    swap(other);
    return *this;
  }
  Buffer(const Buffer&) = delete;
  Buffer& operator=(const Buffer&) = delete;

  void* data() const { return data_; }
  size_t bytes() const { return bytes_; }

  // Number of buffers ever made by this process: a test holds it constant over a step.
  static size_t num_allocations();

 private:
  void release();
  void swap(Buffer& other) {
    std::swap(data_, other.data_);
    std::swap(bytes_, other.bytes_);
    std::swap(mapped_bytes_, other.mapped_bytes_);
    std::swap(mapping_, other.mapping_);
  }

  void* data_ = nullptr;
  size_t bytes_ = 0;
  void* mapping_ = nullptr;
  size_t mapped_bytes_ = 0;
};

}  // namespace moehill
