// SparseMemory is a range of addresses for all rows of a tensor. It takes memory only for the parts that were
// written since they were last dropped. The check uses it: it brings rows of other processes for some experts
// at a time, and drops them afterwards.
//
//   SparseMemory rows(num_rows * row_bytes);   // no memory yet
//   std::memcpy(rows.data(), row, row_bytes);  // takes a page
//   rows.drop({0, row_bytes});                 // gives back the whole pages in it
#pragma once

#include <cstddef>

#include "moehill/base/partition.h"

namespace moehill {

class SparseMemory {
 public:
  // Reserves `bytes` of addresses. Throws std::bad_alloc if the system refuses.
  explicit SparseMemory(int64_t bytes);
  ~SparseMemory();
  SparseMemory(const SparseMemory&) = delete;
  SparseMemory& operator=(const SparseMemory&) = delete;

  char* data() const { return data_; }
  // Gives back the pages that lie completely inside these bytes. They read as zero afterwards.
  void drop(Range bytes);

 private:
  char* data_ = nullptr;
  size_t mapped_bytes_;
};

}  // namespace moehill
