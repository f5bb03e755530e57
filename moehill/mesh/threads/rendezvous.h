// Rendezvous: where the devices of the threads mesh meet, show each other their arguments, and part.
#pragma once

#include <atomic>
#include <cstdint>
#include <span>
#include <string>
#include <vector>

#include "moehill/mesh/errors.h"
#include "moehill/mesh/group.h"

namespace moehill {

// A collective is meet(), work on the peers' memory, part(); nobody's memory is touched before the first
// returns on all ranks or after the second does, so a rank that fails outside a collective can free what it
// owns.
class Rendezvous {
 public:
  // `num_spins`: of a wait before it sleeps.
  Rendezvous(int num_ranks, int num_spins);

  // Publishes `call`, waits for all ranks and returns their calls in rank order, valid until this rank's
  // part() (or its next meet(), if the collective needs no part()). Throws PeerFailed after fail(), and
  // CollectiveError on all ranks when the calls are of different kinds, types or sizes.
  std::span<const Call> meet(int rank, const Call& call);

  // Waits for all ranks. Throws CollectiveError on all ranks if one of them reported a disagreement.
  void part();

  // Reports something that only one rank sees, between meet() and part().
  void report(std::string disagreement);

  // Lets every rank that waits now or later throw PeerFailed, until reset(), which needs all ranks outside.
  void fail();
  void reset();

 private:
  uint32_t current_generation() const;
  void wait_for_all(uint32_t generation);

  const uint32_t num_ranks_;
  const int num_spins_;
  // Two sets used in turn, so that a rank ahead of the others does not overwrite what they still read.
  std::vector<Call> calls_;
  // A sense-reversing barrier whose sense is a counter: twice the number of completed waits, plus 1 after
  // fail(). In one word, so that a wait that was completed counts as completed on every rank, whatever failed
  // afterwards.
  alignas(64) std::atomic<uint32_t> generation_{0};
  alignas(64) std::atomic<uint32_t> num_arrived_{0};
  std::atomic<bool> disagrees_{false};
  std::string disagreement_;
};

}  // namespace moehill
