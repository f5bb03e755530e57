#include "moehill/mesh/threads/rendezvous.h"

#include <utility>

#include "moehill/machine/spin_wait.h"

namespace moehill {
namespace {

[[noreturn]] void throw_peer_failed() { throw PeerFailed("another device of the mesh has failed"); }

}  // namespace

Rendezvous::Rendezvous(int num_ranks, int num_spins)
    : num_ranks_(static_cast<uint32_t>(num_ranks)),
      num_spins_(num_spins),
      calls_(2 * static_cast<size_t>(num_ranks)) {}

uint32_t Rendezvous::current_generation() const {
  const uint32_t generation = generation_.load(std::memory_order_acquire);
  if (generation % 2 != 0) throw_peer_failed();
  return generation;
}

void Rendezvous::wait_for_all(uint32_t generation) {
  if (num_arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_ranks_) {
    num_arrived_.store(0, std::memory_order_relaxed);
    // Adds 2, since the lowest bit says that fail() was called. The release publishes the reset of the count
    // and the calls of all ranks.
    generation_.fetch_add(2, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  if (wait_while_equal(generation_, generation, num_spins_) == generation + 1) throw_peer_failed();
}

std::span<const Call> Rendezvous::meet(int rank, const Call& call) {
  const uint32_t generation = current_generation();
  const size_t set = generation / 2 % 2 * num_ranks_;
  Call& own = calls_[set + static_cast<size_t>(rank)];
  own = call;
  own.rank = rank;
  wait_for_all(generation);
  const std::span<const Call> calls(calls_.data() + set, num_ranks_);
  const std::string disagreement = find_disagreement(calls, static_cast<size_t>(rank));
  if (disagreement.empty()) return calls;
  // All ranks wait here, because the offsets of a rank that throws must not be freed while others still read
  // them.
  wait_for_all(generation + 2);
  throw CollectiveError(disagreement);
}

void Rendezvous::part() {
  wait_for_all(current_generation());
  if (disagrees_.load(std::memory_order_relaxed)) throw CollectiveError(disagreement_);
}

void Rendezvous::report(std::string disagreement) {
  if (!disagrees_.exchange(true, std::memory_order_relaxed)) disagreement_ = std::move(disagreement);
}

void Rendezvous::fail() {
  generation_.fetch_or(1, std::memory_order_release);
  generation_.notify_all();
}

void Rendezvous::reset() {
  generation_.store(0, std::memory_order_relaxed);
  num_arrived_.store(0, std::memory_order_relaxed);
  disagrees_.store(false, std::memory_order_relaxed);
}

}  // namespace moehill
