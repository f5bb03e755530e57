// Rendezvous is the place where the devices of the threads mesh meet, show each other their arguments, and
// part again. It moves no rows.
//
//   const std::span<const Call> calls = rendezvous.meet(rank, call);
//   copy_from_peers(calls);
//   rendezvous.part();   // no peer touches this device's memory any more
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "moehill/mesh/errors.h"
#include "moehill/mesh/group.h"

namespace moehill {

// A collective is meet(), work on the peers' memory, and part(). Ranks touch each other's memory only after
// meet() and before part() has returned on all ranks. So a rank that fails outside of a collective can free
// its memory.
class Rendezvous {
 public:
  // A wait spins `num_spins` times before it sleeps.
  Rendezvous(int num_ranks, int num_spins);

  // Publishes `call`, waits for all ranks and returns their calls in rank order. They are valid until this
  // rank's part(), or until its next meet() if the collective needs no part(). Throws PeerFailed after
  // fail(), and CollectiveError on all ranks if the calls have different kinds, types or sizes.
  std::span<const Call> meet(int rank, const Call& call);

  // Waits for all ranks. Throws CollectiveError on all ranks if one of them has reported a disagreement.
  void part();

  // Reports a disagreement that only this rank can see, between meet() and part().
  void report(std::string disagreement);

  // fail() makes every rank that waits now or later throw PeerFailed, until reset(). When reset() is called,
  // no rank may be in a collective.
  void fail();
  void reset();

 private:
  uint32_t current_generation() const;
  void wait_for_all(uint32_t generation);

  const uint32_t num_ranks_;
  const int num_spins_;
  // Meetings use two sets of calls in turn, so that a rank that is ahead does not overwrite calls that others
  // still read.
  std::vector<Call> calls_;
  // A barrier whose sense is a counter: twice the number of completed waits, plus 1 after fail(). Both are in
  // one word, so that all ranks agree whether a wait was complete before a failure.
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> num_arrived_{0};
  std::atomic<bool> disagrees_{false};
  std::string disagreement_;
};

}  // namespace moehill
