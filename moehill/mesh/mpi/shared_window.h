// SharedWindow: memory that all processes of a node reach, a part of it from each.
#pragma once

#include <vector>

#include "moehill/mesh/mpi/mpi_call.h"

namespace moehill {

// Made and destroyed by all processes of the node together (the last unless an exception unwinds). Loads and
// stores of the processes see each other by C++'s atomics; there is nothing to flush.
class SharedWindow {
 public:
  // `bytes` of this process, aligned to `alignment` in its own address space; may differ between processes.
  SharedWindow(MPI_Comm node, size_t bytes, size_t alignment);
  ~SharedWindow();
  SharedWindow(const SharedWindow&) = delete;
  SharedWindow& operator=(const SharedWindow&) = delete;

  // The part of process `local_rank` of the node as this process sees it, and its length.
  char* part(int local_rank) const { return parts_[static_cast<size_t>(local_rank)].begin; }
  size_t bytes(int local_rank) const { return parts_[static_cast<size_t>(local_rank)].bytes; }

 private:
  struct Part {
    char* begin;
    size_t bytes;
  };
  void* allocate(MPI_Comm node, size_t bytes);

  MPI_Win window_ = MPI_WIN_NULL;
  std::vector<Part> parts_;  // by rank in the node
};

}  // namespace moehill
