// The classes of this file empty the caches before a measurement, as the other layers of a model do between
// two steps of a block. Without this, a small block that is measured again and again is faster than it is
// anywhere else. The caches are emptied before every timed step. For blocks much larger than the caches it
// makes no difference.
//
//     ColdCores empty_caches(detect_topology());
//     empty_caches();   // reads three times the L2 and L3 on all cores, then the step may be timed
#pragma once

#include <atomic>
#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/machine/topology.h"
#include "moehill/tensor/buffer.h"

namespace moehill {

// Returns the bytes to read until the L2 and L3 of all cores hold nothing older.
int64_t cold_cache_bytes(const Topology& topology);

// ColdMemory is memory that leaves nothing older in the caches once it is read.
class ColdMemory {
 public:
  // The threads of `placer` write the memory first, so its pages lie on the threads' memory nodes.
  ColdMemory(int64_t bytes, ThreadTeam& placer);
  // The team reads part `part` of `num_parts`; each thread reads its share of that.
  void read(ThreadTeam& team, int part = 0, int num_parts = 1);
  int64_t bytes() const { return static_cast<int64_t>(memory_.bytes()); }

 private:
  Buffer memory_;
  // The sum of all that was read. It is kept so that the compiler cannot leave the reading out.
  std::atomic<uint64_t> sum_{0};
};

// ColdCaches lets one team read all of its memory, each thread its share.
class ColdCaches {
 public:
  ColdCaches(int64_t bytes, ThreadTeam& team) : team_(team), memory_(bytes, team) {}
  void operator()() { memory_.read(team_); }

 private:
  ThreadTeam& team_;
  ColdMemory memory_;
};

// ColdCores reads with all cores of this process, for runs that each have a team of their own.
class ColdCores {
 public:
  explicit ColdCores(const Topology& topology);
  void operator()();

 private:
  ThreadTeam team_;
  ColdCaches caches_;
};

}  // namespace moehill
