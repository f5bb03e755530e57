// Takes the caches away from what is measured next, as the other layers of a model do between two steps of a
// block. Without it a small block measured again and again is faster than it is anywhere else.
#pragma once

#include <atomic>
#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/machine/topology.h"
#include "moehill/tensor/buffer.h"

namespace moehill {

// Bytes to read until nothing older is left in the L2 and L3 of all cores.
int64_t cold_cache_bytes(const Topology& topology);

// Memory whose reading leaves nothing older in the caches.
class ColdMemory {
 public:
  // `placer` writes it first, and so places it.
  ColdMemory(int64_t bytes, ThreadTeam& placer);
  // The team reads share `part` of `num_parts`, each thread its share of that.
  void read(ThreadTeam& team, int part = 0, int num_parts = 1);
  int64_t bytes() const { return static_cast<int64_t>(memory_.bytes()); }

 private:
  Buffer memory_;
  std::atomic<uint64_t> sum_{0};  // of what was read, so that it is
};

// The threads of one team read so much, each its share.
class ColdCaches {
 public:
  ColdCaches(int64_t bytes, ThreadTeam& team) : team_(team), memory_(bytes, team) {}
  void operator()() { memory_.read(team_); }

 private:
  ThreadTeam& team_;
  ColdMemory memory_;
};

// All cores of this process do, between steps of runs that have teams of their own.
class ColdCores {
 public:
  explicit ColdCores(const Topology& topology);
  void operator()();

 private:
  ThreadTeam team_;
  ColdCaches caches_;
};

}  // namespace moehill
