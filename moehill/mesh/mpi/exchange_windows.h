// This header has the shared memory of a node. SharedWindow is memory to which each process of the node
// contributes a part, and which all of them reach. ExchangeWindows has the exchange memory of one rank and of
// its peers on the node, and finds out where in it an address lies. It copies no rows; mpi_group.cc does.
//
//   ExchangeWindows windows(node);
//   const std::shared_ptr<void> memory = windows.make(bytes);   // collective over the node
//   const Place place = windows.locate(memory.get(), bytes);    // a number that peers understand
//   windows.address(/*local_rank=*/1, place_of_rank_1);         // where this process sees it
#pragma once

#include <memory>
#include <vector>

#include "moehill/mesh/mpi/communicator.h"
#include "moehill/mesh/mpi/node_rendezvous.h"

namespace moehill {

// All processes of the node make and destroy a SharedWindow together. While an exception unwinds, its
// destructor frees nothing. Processes see each other's stores by the rules of C++ atomics; nothing has to be
// flushed.
class SharedWindow {
 public:
  // Contributes `bytes`, aligned to `alignment` in this process; other processes may contribute other sizes.
  SharedWindow(MPI_Comm node, size_t bytes, size_t alignment);
  ~SharedWindow();
  SharedWindow(const SharedWindow&) = delete;
  SharedWindow& operator=(const SharedWindow&) = delete;

  // These two return the part of process `local_rank` of the node, at its address in this process, and its
  // length.
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

// ExchangeWindows owns all exchange memory of one rank. The peers make and free theirs in the same order.
class ExchangeWindows {
 public:
  explicit ExchangeWindows(MPI_Comm node);
  // The callers of make() must have released their memory before, because the windows are freed here. It is
  // an error of the program if they have not, except while an exception unwinds.
  ~ExchangeWindows();

  // Returns `bytes` for this rank, not zeroed yet. Collective over the node. Windows whose memory has been
  // released on all ranks are freed first.
  std::shared_ptr<void> make(size_t bytes);

  // Returns the place of this memory. The place is not reachable() unless all `bytes` lie in memory that
  // make() gave to this rank.
  Place locate(const void* memory, size_t bytes) const;
  // Returns the address in this process of a place in the memory of rank `local_rank`; null for a place that
  // is not reachable().
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
