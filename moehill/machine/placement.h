// Placement: where threads run and pages lie, as the system says it.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/machine/thread_team.h"

namespace moehill {

struct ThreadPlace {
  int cpu;   // kAnyCpu: the system moves the thread between several
  int core;  // the first logical CPU of the core that `cpu` is of
  int numa;  // the system's number of the memory node; kAnyCpu where the thread is not held on one
  bool operator==(const ThreadPlace&) const = default;
};

// The affinity of the calling thread, and the node of its CPU.
ThreadPlace place_of_this_thread();

// Those of a team's threads; the caller is the first, where pin_caller() or a PinScope has put it.
std::vector<ThreadPlace> places_of(ThreadTeam& team);

// Pages of a sample by where they lie.
struct PageSample {
  int64_t num_local = 0, num_remote = 0;  // on one of the nodes asked for, or on another
  int64_t num_unknown = 0;                // not yet written, or the system does not say
};

// At most `max_pages` pages, evenly spread over `bytes` bytes from `begin` on. nodes: the system's numbers.
PageSample sample_pages(const void* begin, size_t bytes, const std::vector<int>& nodes, int max_pages = 64);

}  // namespace moehill
