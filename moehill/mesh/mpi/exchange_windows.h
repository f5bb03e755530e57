// ExchangeWindows: the exchange memory of one rank and of its peers on the node, and where in it an address
// lies.
#pragma once

#include <memory>
#include <vector>

#include "moehill/mesh/mpi/node_rendezvous.h"
#include "moehill/mesh/mpi/shared_window.h"

namespace moehill {

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
  // The address in this process of a place in the memory of rank `local_rank`; null for nowhere.
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
