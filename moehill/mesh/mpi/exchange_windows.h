// SharedWindow: memory that all processes of a node reach, a part of it from each. ExchangeWindows: the
// exchange memory of one rank and of its peers on the node, and where in it an address lies.
#pragma once

#include <memory>
#include <vector>

#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/node_rendezvous.h"

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

class ExchangeWindows {
 public:
  explicit ExchangeWindows(MPI_Comm node);
  // All memory must be gone: its windows go with this (an invariant, but while an exception unwinds).
  ~ExchangeWindows();

  // `bytes` for this rank, not zeroed yet. Collective over the node; before, windows whose memory is gone on
  // all ranks are given back.
  std::shared_ptr<void> make(size_t bytes);

  // The place of this memory; nowhere unless all `bytes` lie in memory of this rank that make() gave.
  Place locate(const void* memory, size_t bytes) const;
  // The address, in this process, of a place in the memory of rank `local_rank`; null where locate() found no
  // place.
  char* address(int local_rank, Place place) const;

 private:
  struct Entry {
    std::unique_ptr<SharedWindow> window;
    std::weak_ptr<void> memory;
  };
  void free_unused();

  MPI_Comm node_;
  int local_rank_ = 0;
  std::vector<Entry> entries_;  // the same windows in the same order on all ranks of the node
};

}  // namespace moehill
