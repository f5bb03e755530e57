// Implements node_rendezvous.h in shared memory, with atomics only, because locks of one process mean nothing
// to another.
#include "moehill/mesh/mpi/node_rendezvous.h"

#include <sched.h>

#include <algorithm>
#include <chrono>
#include <new>
#include <thread>

#include "moehill/base/error.h"
#include "moehill/machine/spin_wait.h"
#include "moehill/mesh/errors.h"
#include "moehill/mesh/wait_limit.h"

namespace moehill {
namespace {

constexpr size_t kLine = 64;
// A rank that has spun in vain yields its core this many times to other threads, which may have no core of
// their own; then it sleeps. Such a wait takes milliseconds anyway.
constexpr int kYields = 1000;
constexpr auto kSleep = std::chrono::microseconds(50);

static_assert(std::atomic<uint32_t>::is_always_lock_free, "a lock would be one process's own");

}  // namespace

// Header has a barrier: the last rank to arrive opens the next generation. `told` is twice the number of
// calls to tell(), plus 1 if the last one told true.
struct NodeRendezvous::Header {
  alignas(kLine) std::atomic<uint32_t> generation{0};
  alignas(kLine) std::atomic<uint32_t> num_arrived{0};
  alignas(kLine) std::atomic<uint32_t> told{0};
};

// Presence is the number of meetings and partings to which a rank has come.
struct NodeRendezvous::Presence {
  alignas(kLine) std::atomic<uint32_t> count{0};
};

// A slot is followed by the offsets of the call.
struct NodeRendezvous::Slot {
  Call call;
  Place input, output;
};

size_t NodeRendezvous::slot_bytes(int num_ranks) {
  const size_t bytes = sizeof(Slot) + 2 * static_cast<size_t>(num_ranks + 1) * sizeof(int64_t);
  return (bytes + kLine - 1) / kLine * kLine;
}

size_t NodeRendezvous::memory_bytes(int num_local, int num_ranks) {
  const size_t local = static_cast<size_t>(num_local);
  return sizeof(Header) + local * sizeof(Presence) + 2 * local * slot_bytes(num_ranks);
}

void NodeRendezvous::prepare(void* memory, int num_local) {
  new (memory) Header;
  char* const presences = static_cast<char*>(memory) + sizeof(Header);
  for (int l = 0; l < num_local; ++l) new (presences + static_cast<size_t>(l) * sizeof(Presence)) Presence;
}

NodeRendezvous::NodeRendezvous(void* memory, int local_rank, std::vector<int> ranks, int num_ranks,
                               int num_spins, std::function<void()> idle)
    : ranks_(std::move(ranks)),
      num_local_(static_cast<int>(ranks_.size())),
      header_(*static_cast<Header*>(memory)),
      presences_(reinterpret_cast<Presence*>(static_cast<char*>(memory) + sizeof(Header))),
      slots_(reinterpret_cast<char*>(presences_ + num_local_)),
      local_rank_(local_rank),
      num_ranks_(num_ranks),
      num_spins_(num_spins),
      idle_(std::move(idle)),
      calls_(ranks_.size()),
      inputs_(calls_.size()),
      outputs_(calls_.size()) {}

NodeRendezvous::Slot& NodeRendezvous::slot(uint32_t set, int local_rank) const {
  const size_t index = set * static_cast<size_t>(num_local_) + static_cast<size_t>(local_rank);
  return *reinterpret_cast<Slot*>(slots_ + index * slot_bytes(num_ranks_));
}

std::span<int64_t> NodeRendezvous::offsets_of(Slot& slot, int which) const {
  const size_t num_offsets = static_cast<size_t>(num_ranks_) + 1;
  return {reinterpret_cast<int64_t*>(&slot + 1) + static_cast<size_t>(which) * num_offsets, num_offsets};
}

void NodeRendezvous::publish(Slot& slot, const Call& call, Place input, Place output) const {
  slot.call = call;
  slot.input = input;
  slot.output = output;
  std::copy(call.offsets.begin(), call.offsets.end(), offsets_of(slot, 0).begin());
  std::copy(call.receive_offsets.begin(), call.receive_offsets.end(), offsets_of(slot, 1).begin());
}

// Sets the offsets to their addresses in this process, if there are any.
void NodeRendezvous::read(Slot& slot, size_t local_rank) {
  Call& call = calls_[local_rank] = slot.call;
  if (!call.offsets.empty()) call.offsets = offsets_of(slot, 0);
  if (!call.receive_offsets.empty()) call.receive_offsets = offsets_of(slot, 1);
  inputs_[local_rank] = slot.input;
  outputs_[local_rank] = slot.output;
}

// Meetings use two sets of slots in turn. Before a rank writes a set at the meeting after next, all ranks
// have come to the next meeting, so no rank reads that set any more.
NodeRendezvous::Meeting NodeRendezvous::meet(const Call& call, Place input, Place output) {
  const uint32_t set = header_.generation.load(std::memory_order_acquire) % 2;
  publish(slot(set, local_rank_), call, input, output);
  wait_for_all();
  for (int l = 0; l < num_local_; ++l) read(slot(set, l), static_cast<size_t>(l));
  std::string disagreement = find_disagreement(calls_, static_cast<size_t>(local_rank_));
  if (disagreement.empty() && call.kind == CallKind::all_to_all)
    disagreement = find_count_disagreement(calls_);
  if (!disagreement.empty()) throw CollectiveError(disagreement);
  return {calls_, inputs_, outputs_};
}

void NodeRendezvous::part() { wait_for_all(); }

std::vector<int> NodeRendezvous::missing() const {
  std::vector<int> missing;
  const uint32_t own = presences_[local_rank_].count.load(std::memory_order_relaxed);
  for (int l = 0; l < num_local_; ++l) {
    if (presences_[l].count.load(std::memory_order_relaxed) != own)
      missing.push_back(ranks_[static_cast<size_t>(l)]);
  }
  return missing;
}

void NodeRendezvous::wait_for_all() {
  presences_[local_rank_].count.fetch_add(1, std::memory_order_relaxed);
  const uint32_t generation = header_.generation.load(std::memory_order_acquire);
  if (header_.num_arrived.fetch_add(1, std::memory_order_acq_rel) + 1 == static_cast<uint32_t>(num_local_)) {
    header_.num_arrived.store(0, std::memory_order_relaxed);
    // The release publishes the reset of the count and the slots that all ranks wrote before they arrived.
    header_.generation.store(generation + 1, std::memory_order_release);
    return;
  }
  wait_until([&] { return header_.generation.load(std::memory_order_acquire) != generation; },
             [this] { return rank_names(missing()); });
}

void NodeRendezvous::tell(bool heard) {
  header_.told.store(2 * ++num_told_ + (heard ? 1 : 0), std::memory_order_release);
}

bool NodeRendezvous::await_told() {
  ++num_told_;
  uint32_t told = 0;
  wait_until(
      // `told` has 31 bits for the count, so the own count is taken modulo 2^31.
      [&] { return (told = header_.told.load(std::memory_order_acquire)) / 2 == num_told_ % (1u << 31); },
      [this] { return "ranks of other nodes, from whom " + rank_name(ranks_.front()) + " hears"; });
  return told % 2 != 0;
}

// Spins first. After that it makes MPI drive messages on, gives its core to others, and at last sleeps
// between looks.
template <typename Condition>
void NodeRendezvous::wait_until(const Condition& is_over, const std::function<std::string()>& missing) {
  for (int i = 0; i < num_spins_; ++i) {
    if (is_over()) return;
    cpu_pause();
  }
  Patience patience("a collective");
  for (int i = 0; !is_over(); ++i) {
    idle_();
    patience.check(missing);
    if (i < kYields) {
      (void)sched_yield();
    } else {
      std::this_thread::sleep_for(kSleep);
      --i;  // keeps a long wait from overflowing the count
    }
  }
}

}  // namespace moehill
