#include "moehill/mesh/threads/rendezvous.h"

#include <fmt/format.h>

#include <algorithm>
#include <utility>

#include "moehill/machine/spin_wait.h"

namespace moehill {
namespace {

const char* name_of(CallKind kind) {
  switch (kind) {
    case CallKind::barrier:
      return "barrier";
    case CallKind::all_reduce:
      return "all_reduce";
    case CallKind::reduce_scatter:
      return "reduce_scatter";
    case CallKind::all_gather:
      return "all_gather";
    case CallKind::all_to_all:
      return "all_to_all";
    case CallKind::finished:
      return "the end of its program";
  }
  return "?";
}

std::string describe(const Call& call) {
  std::string text = name_of(call.kind);
  if (call.kind == CallKind::all_reduce) {
    text += fmt::format(" of {} elements {} to {}", call.n, dtype_name(call.input_dtype),
                        dtype_name(call.output_dtype));
  } else if (call.kind == CallKind::reduce_scatter) {
    text += fmt::format(" {} to {}, offsets {}", dtype_name(call.input_dtype), dtype_name(call.output_dtype),
                        fmt::join(call.offsets, " "));
  } else if (call.kind == CallKind::all_gather) {
    text += fmt::format(" of {} byte elements, offsets {}", call.element_bytes, fmt::join(call.offsets, " "));
  } else if (call.kind == CallKind::all_to_all) {
    text += fmt::format(" of {} byte elements", call.element_bytes);
  }
  return text;
}

// all_to_all is the one whose offsets differ between ranks.
bool alike(const Call& a, const Call& b) {
  return a.kind == b.kind && a.input_dtype == b.input_dtype && a.output_dtype == b.output_dtype &&
         a.n == b.n && a.element_bytes == b.element_bytes &&
         (a.kind == CallKind::all_to_all ||
          std::equal(a.offsets.begin(), a.offsets.end(), b.offsets.begin(), b.offsets.end()));
}

// Empty if all calls go together. If any two differ, every rank sees one that differs from its own.
std::string find_disagreement(std::span<const Call> calls, size_t rank) {
  for (size_t r = 0; r < calls.size(); ++r) {
    if (alike(calls[rank], calls[r])) continue;
    const size_t low = std::min(r, rank), high = std::max(r, rank);
    return fmt::format("the devices disagree: rank {} is at {}, rank {} is at {}", low, describe(calls[low]),
                       high, describe(calls[high]));
  }
  return {};
}

[[noreturn]] void throw_peer_failed() { throw PeerFailed("another device of the mesh has failed"); }

}  // namespace

Rendezvous::Rendezvous(int num_ranks)
    : num_ranks_(static_cast<uint32_t>(num_ranks)), calls_(2 * static_cast<size_t>(num_ranks)) {}

uint32_t Rendezvous::current_generation() const {
  const uint32_t generation = generation_.load(std::memory_order_acquire);
  if (generation % 2 != 0) throw_peer_failed();
  return generation;
}

void Rendezvous::wait_for_all(uint32_t generation) {
  if (num_arrived_.fetch_add(1, std::memory_order_acq_rel) + 1 == num_ranks_) {
    num_arrived_.store(0, std::memory_order_relaxed);
    generation_.fetch_add(2, std::memory_order_release);
    generation_.notify_all();
    return;
  }
  if (wait_while_equal(generation_, generation) == generation + 1) throw_peer_failed();
}

std::span<const Call> Rendezvous::meet(int rank, const Call& call) {
  const uint32_t generation = current_generation();
  const size_t set = generation / 2 % 2 * num_ranks_;
  calls_[set + static_cast<size_t>(rank)] = call;
  wait_for_all(generation);
  const std::span<const Call> calls(calls_.data() + set, num_ranks_);
  const std::string disagreement = find_disagreement(calls, static_cast<size_t>(rank));
  if (disagreement.empty()) return calls;
  wait_for_all(generation + 2);  // the offsets of a rank that unwinds must not go while others read them
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
