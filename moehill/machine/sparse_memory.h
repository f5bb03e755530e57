// Sparse memory: addresses for all of something, with memory for those parts alone that were written since
// they were dropped.
#pragma once

#include <cstddef>

#include "moehill/base/partition.h"

namespace moehill {

class SparseMemory {
 public:
  // Throws std::bad_alloc when the system refuses the addresses.
  explicit SparseMemory(int64_t bytes);
  ~SparseMemory();
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;

  char* data() const { return data_; }
  // Gives back the pages that lie in these bytes altogether. They read as zero then.
  void drop(Range bytes);

 private:
  char* data_ = nullptr;
  size_t mapped_bytes_;
};

}  // namespace moehill
