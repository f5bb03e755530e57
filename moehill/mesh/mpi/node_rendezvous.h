// NodeRendezvous is the place in shared memory where the ranks of one node meet, show each other their
// arguments, and part again. It does between processes what Rendezvous (mesh/threads/rendezvous.h) does
// between threads.
//
//   const NodeRendezvous::Meeting meeting = rendezvous.meet(call, input, output);
//   copy_from_peers(meeting);
//   rendezvous.part();   // no peer touches this rank's memory any more
#pragma once

#include <atomic>
#include <cstdint>
#include <functional>
#include <span>
#include <vector>

#include "moehill/mesh/group.h"

namespace moehill {

// Place says where peers find memory of a rank: at an offset in one of its windows, or nowhere (window -1).
struct Place {
  int32_t window = -1;
  uint64_t offset = 0;
  bool reachable() const { return window >= 0; }
};

// Each rank of the node has a NodeRendezvous over the same memory.
class NodeRendezvous {
 public:
  // The arguments of the ranks of the node, in their order. Pointers in `calls` are valid only in the process
  // of their owner; the places say where peers reach the same memory.
  struct Meeting {
    std::span<const Call> calls;
    std::span<const Place> inputs, outputs;
  };

  // Returns the bytes of shared memory for num_local ranks on the node and num_ranks in the job.
  static size_t memory_bytes(int num_local, int num_ranks);
  // Prepares the memory. Call it once, before any rank meets.
  static void prepare(void* memory, int num_local);

  // `memory` must be 64-byte aligned and prepared. `ranks` are the node's ranks in the job, which has
  // num_ranks. A wait spins `num_spins` times before it gives its core to others. While it waits longer, it
  // calls `idle` again and again, because MPI moves messages only inside its own calls.
  NodeRendezvous(void* memory, int local_rank, std::vector<int> ranks, int num_ranks, int num_spins,
                 std::function<void()> idle);

  // Publishes the call (it copies the offsets), waits for all ranks of the node and returns the calls that
  // they published. The result is valid until this rank's part(), or until its next meet() if the collective
  // needs no part(). Throws CollectiveError on all ranks of the node if the calls have different kinds,
  // types, sizes or counts. Then the ranks do not part, and the next meet() begins anew.
  Meeting meet(const Call& call, Place input, Place output);

  // Returns the calls of the last meeting, even if it threw.
  std::span<const Call> calls() const { return calls_; }

  // Waits for all ranks of the node.
  void part();

  // The first rank of a node calls tell() to pass the answer of the other nodes on to the ranks of its node,
  // which receive it by await_told(). Call these at most once for each meeting, after it.
  void tell(bool heard);
  bool await_told();

 private:
  struct Header;
  struct Presence;
  struct Slot;
  static size_t slot_bytes(int num_ranks);
  Slot& slot(uint32_t set, int local_rank) const;
  // 0: offsets of the elements to send; 1: all_to_all's receive offsets.
  std::span<int64_t> offsets_of(Slot& slot, int which) const;
  void publish(Slot& slot, const Call& call, Place input, Place output) const;
  void read(Slot& slot, size_t local_rank);
  void wait_for_all();
  template <typename Condition>
  void wait_until(const Condition& is_over, const std::function<std::string()>& missing);
  // Returns the ranks that have not come to the point where this rank waits.
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
