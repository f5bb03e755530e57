#include "moehill/mesh/mpi/trip_messages.h"

#include <sched.h>

#include <algorithm>

namespace moehill {
namespace {

// One waits for the receiver's go-ahead while the other moves.
constexpr int kFirstLimit = 2;

}  // namespace

TripMessages::Place TripMessages::place(const void* rows, std::span<const int64_t> cuts, int rank,
                                        int part) const {
  const size_t i =
      static_cast<size_t>(rank) * static_cast<size_t>(trip_.num_parts + 1) + static_cast<size_t>(part);
  if (cuts[i] == cuts[i + 1]) return {nullptr, 0};
  char* const start = static_cast<char*>(const_cast<void*>(rows));
  return {start + static_cast<size_t>(cuts[i]) * trip_.row_bytes,
          static_cast<size_t>(cuts[i + 1] - cuts[i]) * trip_.row_bytes};
}

void TripMessages::start(const RoundTrip& trip, int tag) {
  trip_ = trip;
  const int num_parts = trip.num_parts;
  for (std::vector<Messages>* all : {&coming_, &going_}) {
    all->resize(2 * static_cast<size_t>(num_parts), Messages(comm_, piece_bytes_));
    for (Messages& messages : *all) messages.use_tag(tag);
  }
  for (int i = 0; i < 2 * num_parts; ++i) {
    for (const int rank : others_) {
      const Place in = i < num_parts ? place(trip.received, trip.received_cuts, rank, i)
                                     : place(trip.answered, trip.answered_cuts, rank, i - num_parts);
      coming_[static_cast<size_t>(i)].receive(in.begin, in.bytes, rank);
    }
  }
  num_posted_ = num_gone_ = 0;
  num_ready_ = num_parts;
  limit_ = kFirstLimit;
  advance();
}

void TripMessages::post(int send) {
  for (const int rank : others_) {
    const Place out = send < trip_.num_parts
                          ? place(trip_.sent, trip_.sent_cuts, rank, send)
                          : place(trip_.answer, trip_.answer_cuts, rank, send - trip_.num_parts);
    going_[static_cast<size_t>(send)].send(out.begin, out.bytes, rank);
  }
}

// Where all that was under way has gone before this looked, the link has stood idle: the next time more is.
void TripMessages::advance() {
  if (num_posted_ == num_ready_) return;
  while (num_gone_ < num_posted_ && going_[static_cast<size_t>(num_gone_)].are_done()) ++num_gone_;
  if (num_posted_ > 0 && num_gone_ == num_posted_) limit_ = std::min(2 * limit_, 2 * trip_.num_parts);
  while (num_posted_ < num_ready_ && num_posted_ - num_gone_ < limit_) post(num_posted_++);
}

void TripMessages::answer(int part) {
  num_ready_ = trip_.num_parts + part + 1;
  advance();
}

bool TripMessages::has_landed(int part) {
  for (int i = 0; i <= part; ++i) {
    if (!coming_[static_cast<size_t>(i)].are_done()) return false;
  }
  return true;
}

template <typename Condition>
void TripMessages::advance_until(const Condition& condition) {
  while (!condition()) {
    advance();
    (void)sched_yield();
  }
}

void TripMessages::await(int part) {
  advance_until([&] { return has_landed(part); });
  for (int i = 0; i <= part; ++i) coming_[static_cast<size_t>(i)].finish("round_trip");
}

void TripMessages::finish() {
  advance_until([&] { return num_posted_ == 2 * trip_.num_parts; });
  for (Messages& messages : going_) messages.finish("round_trip");
  for (Messages& messages : coming_) messages.finish("round_trip");
  num_ready_ = num_posted_ = num_gone_ = 0;
}

void TripMessages::abandon() {
  for (std::vector<Messages>* all : {&coming_, &going_}) {
    for (Messages& messages : *all) messages.abandon();
  }
  num_ready_ = num_posted_ = num_gone_ = 0;
}

}  // namespace moehill
