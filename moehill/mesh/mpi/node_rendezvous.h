// NodeRendezvous: where the ranks of one node meet in shared memory, show each other their arguments, and
// part: the threads mesh's Rendezvous between processes.
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "moehill/mesh/group.h"

namespace moehill {

// Memory of a rank as its peers can find it: so far into one of its windows, or nowhere.
struct Place {
  int32_t window = -1;
  uint64_t offset = 0;
  bool reachable() const { return window >= 0; }
};

class NodeRendezvous {
 public:
  // The arguments that the ranks of the node passed, in their order. The pointers in `calls` hold only for
  // their owners; the places say where the peers reach the same memory.
  struct Meeting {
    std::span<const Call> calls;
    std::span<const Place> inputs, outputs;
  };

  // Bytes of the shared memory for so many ranks on the node and in all.
  static size_t memory_bytes(int num_local, int num_ranks);
  // Prepares the memory; called once, before any rank meets.
  static void prepare(void* memory, int num_local);

  // `memory`: 64-byte aligned, prepared. `ranks`: those of the node in the job, of num_ranks. `num_spins`: of
  // a wait before it gives its core to others. `idle` is called again and again while a rank waits longer:
  // messages get on only while somebody drives them.
  NodeRendezvous(void* memory, int local_rank, std::vector<int> ranks, int num_ranks, int num_spins,
                 std::function<void()> idle);

  // Publishes the call (its offsets are copied), waits for all ranks of the node and returns what they
  // published, valid until this rank's part(), or its next meet() if the collective needs no part(). Throws
  // CollectiveError on all of them when the calls are of different kinds, types, sizes or counts; nothing is
  // waiting then, and the next meet() starts afresh.
  Meeting meet(const Call& call, Place input, Place output);

  // The calls of the last meeting, also of one that threw.
  std::span<const Call> calls() const { return calls_; }

  // Waits for all ranks of the node.
  void part();

  // The first rank of a node tells its ranks what it has heard from the first ranks of the others: once a
  // meeting at most, after it.
  void tell(bool heard);
  bool await_told();

 private:
  struct Header;
  struct Presence;
  struct Slot;
  static size_t slot_bytes(int num_ranks);
  Slot& slot(uint32_t set, int local_rank) const;
  std::span<int64_t> offsets_of(Slot& slot, int which) const;  // 0: what is sent, 1: all_to_all's receives
  void publish(Slot& slot, const Call& call, Place input, Place output) const;
  void read(Slot& slot, size_t local_rank);
  void wait_for_all();
  template <typename Condition>
  void wait_until(const Condition& is_over, const std::function<std::string()>& missing);
  // Those who have not come to where this rank waits, while it does.
  std::vector<int> missing() const;

  const std::vector<int> ranks_;  // [num_local]
  const int num_local_;
  Header& header_;
  Presence* const presences_;  // [num_local]
  char* const slots_;          // [2 sets][num_local]
  const int local_rank_;
  const int num_ranks_;
  const int num_spins_;
  const std::function<void()> idle_;
  uint32_t num_told_ = 0;
  std::vector<Call> calls_;
  std::vector<Place> inputs_, outputs_;
};

}  // namespace moehill
