// This header asks the system where threads run and where pages of memory lie. Records keep that, so that a
// thread or a page in the wrong place can explain a slow run. It moves nothing; pinning.h does.
//
//   const std::vector<ThreadPlace> places = places_of(team);   // places[0].cpu
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/machine/thread_team.h"

namespace moehill {

// ThreadPlace is the CPU of one thread.
struct ThreadPlace {
  int cpu;   // kAnyCpu if the thread may run on more than one
  int core;  // the first logical CPU of the core that `cpu` belongs to
  int numa;  // the system's number of the memory node; kAnyCpu if the thread is not pinned
  bool operator==(const ThreadPlace&) const = default;
};

// Returns the place of the calling thread. Its `cpu` is known only if its affinity mask has exactly one CPU.
ThreadPlace place_of_this_thread();

// Returns the places of a team's threads. The first one is the caller, wherever a PinScope has put it.
std::vector<ThreadPlace> places_of(ThreadTeam& team);

// PageSample counts sampled pages by the memory node on which they lie.
struct PageSample {
  int64_t num_local = 0, num_remote = 0;  // on one of the nodes that the caller named, or on another node
  int64_t num_unknown = 0;                // the page was not written yet, or the system does not say
};

// Samples at most `max_pages` pages, evenly spread over the `bytes` bytes from `begin` on. `nodes` are the
// memory nodes that count as local, by the system's numbers.
PageSample sample_pages(const void* begin, size_t bytes, const std::vector<int>& nodes, int max_pages = 64);

}  // namespace moehill
