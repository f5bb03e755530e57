// Buffer is an aligned block of memory whose pages no thread has touched yet. A page lies on the memory node
// of the thread that writes it first, so the team that will use a buffer should fill it. Matrices (matrix.h)
// and weight stacks (weight_stack.h) own one each.
//
//   Buffer rows(num_rows * row_bytes);   // zeros; takes memory only when written
#pragma once

#include <cstddef>
#include <utility>

namespace moehill {

// Buffer owns `bytes` of zeros. They are aligned to 4 KiB; from 2 MiB on they are aligned to 2 MiB and marked
// for huge pages. The constructor throws std::bad_alloc if the system refuses.
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

  // Returns the number of buffers that this process has ever made. A test requires that a step makes none.
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
