// MpiGroup's collectives that move rows as they are: all_gather and all_to_all in split phase, and the memory
// for them.
#include <cstring>

#include "moehill/mesh/jobs.h"
#include "moehill/mesh/mpi/mpi_group.h"

#include "moehill/machine/clock.h"
#include "moehill/mesh/call.h"
#include "moehill/mesh/traffic.h"

namespace moehill {
namespace {

// Bytes of the elements between offsets[r] and offsets[r + 1] of an array.
struct Rows {
  char* begin;
  size_t bytes;
};

Rows rows_at(const void* array, std::span<const int64_t> offsets, int r, size_t element_bytes) {
  const int64_t first = offsets[static_cast<size_t>(r)], end = offsets[static_cast<size_t>(r) + 1];
  if (first == end) return {nullptr, 0};
  char* const start = static_cast<char*>(const_cast<void*>(array));
  return {start + static_cast<size_t>(first) * element_bytes,
          static_cast<size_t>(end - first) * element_bytes};
}

// What rank `from` sends to rank `to`.
Rows sent(const Started& call, int from, int to) {
  if (call.kind == Collective::all_to_all) {
    return rows_at(call.input, call.send_offsets, to, call.element_bytes);
  }
  const Rows rows = rows_at(call.output, call.receive_offsets, from, call.element_bytes);
  return {static_cast<char*>(const_cast<void*>(call.input)), rows.bytes};
}

Rows received(const Started& call, int from) {
  return rows_at(call.output, call.receive_offsets, from, call.element_bytes);
}

size_t input_bytes(const Started& call, int rank) {
  if (call.kind == Collective::all_gather) return sent(call, rank, rank).bytes;
  return static_cast<size_t>(call.send_offsets.back()) * call.element_bytes;
}

}  // namespace

std::shared_ptr<void> MpiGroup::exchange_memory(size_t bytes) {
  require_idle("exchange_memory");
  gather_at({.kind = CallKind::exchange_memory});
  std::shared_ptr<void> memory = windows_.make(bytes);
  // By the team, which places the pages so.
  team_.parallel_for(static_cast<int64_t>(bytes), [&](int64_t begin, int64_t end) {
    std::memset(static_cast<char*>(memory.get()) + begin, 0, static_cast<size_t>(end - begin));
  });
  return memory;
}

// A node's windows lie at different addresses in its processes, so rows travel.
std::shared_ptr<void> MpiGroup::common_memory(size_t bytes) {
  require_idle("common_memory");
  gather_at({.kind = CallKind::common_memory, .n = static_cast<int64_t>(bytes)});
  return nullptr;
}

void MpiGroup::count_reads(std::span<const int64_t> send_offsets, std::span<const int64_t> receive_offsets,
                           size_t element_bytes) {
  check_offsets("count_reads", send_offsets, size_);
  check_offsets("count_reads", receive_offsets, size_);
  count_all_to_all(traffic_, rank_, send_offsets, receive_offsets, element_bytes);
}

void MpiGroup::start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                                void* output) {
  Group::start_all_gather(input, offsets, element_bytes, output);
  post_to_other_nodes();
}

void MpiGroup::start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                                std::span<const int64_t> receive_offsets, size_t element_bytes) {
  Group::start_all_to_all(input, send_offsets, output, receive_offsets, element_bytes);
  post_to_other_nodes();
}

void MpiGroup::post_to_other_nodes() {
  announce(call_of(started()));
  for (int i = 1; i < size_; ++i) {
    if (is_local(other(i))) continue;
    const Rows in = received(started(), other(i));
    messages_.receive(in.begin, in.bytes, other(i));
  }
  for (int i = 1; i < size_; ++i) {
    if (is_local(other(i))) continue;
    const Rows out = sent(started(), rank_, other(i));
    messages_.send(out.begin, out.bytes, other(i));
  }
  fly();
}

// The library moves messages only inside its calls, so the team makes some between pieces of its work.
void MpiGroup::fly() {
  if (num_local_ == size_) return;
  flight_begin_ = seconds();
  team_.set_poll([this] {
    move_on();
    ++traffic_.progress_calls;
  });
}

void MpiGroup::land() {
  if (num_local_ == size_) return;
  team_.set_poll({});
  traffic_.flight_seconds += seconds() - flight_begin_;
}

void MpiGroup::finish() {
  const Started call = take_started();
  land();
  const bool to_all = call.kind == Collective::all_to_all;
  meet(call_of(call), input_bytes(call, rank_), 0);
  if (call.kind == Collective::reduce_scatter) return reduce_slices(call);
  move_local_rows(call);
  agree();
  messages_.finish(call.name());
  rendezvous_->part();
  if (to_all)
    return count_all_to_all(traffic_, rank_, call.send_offsets, call.receive_offsets, call.element_bytes);
  const size_t rank = static_cast<size_t>(rank_);
  const int64_t own = call.receive_offsets[rank + 1] - call.receive_offsets[rank];
  count_all_gather(traffic_, size_, own, call.receive_offsets.back(), call.element_bytes);
}

// A round trip and a plain all_to_all do not go together.
Call MpiGroup::call_of_trip() const {
  return {.kind = CallKind::all_to_all, .n = trip().num_parts, .element_bytes = trip().row_bytes};
}

// In one part nobody works while rows come, and early answers would only be in each other's way: the
// go-ahead for one side's waits in the stream behind the other's.
bool MpiGroup::travels_in_parts(const RoundTrip& trip) const {
  return num_local_ < size_ && trip.num_parts > 1;
}

void MpiGroup::start_round_trip(const RoundTrip& trip) {
  if (!travels_in_parts(trip)) return Group::start_round_trip(trip);
  begin_trip(trip);
  trip_agreed_ = false;
  Call call = call_of_trip();
  call.rank = rank_;
  const int tag = headers_->post(call);
  messages_.use_tag(tag);
  trip_messages_->start(trip, tag);
  fly();
}

bool MpiGroup::has_landed(int part) { return travels_in_parts(trip()) && trip_messages_->has_landed(part); }

// The ranks of this node move their rows when the first part is wanted; what they would gain by parts is the
// wait for each other.
void MpiGroup::await(int part) {
  if (!travels_in_parts(trip())) return Group::await(part);
  if (trip_agreed_ && has_landed(part)) return trip_messages_->await(part);
  land();
  if (!std::exchange(trip_agreed_, true)) {
    const RoundTrip& t = trip();
    move_trip_rows({.kind = Collective::all_to_all,
                    .input = t.sent,
                    .send_offsets = t.send_offsets,
                    .output = t.received,
                    .receive_offsets = t.receive_offsets,
                    .element_bytes = t.row_bytes});
  }
  trip_messages_->await(part);
  fly();
}

void MpiGroup::answer(int part) {
  if (!travels_in_parts(trip())) return Group::answer(part);
  trip_messages_->answer(part);
}

void MpiGroup::finish_round_trip() {
  if (!travels_in_parts(trip())) return Group::finish_round_trip();
  land();
  const RoundTrip& t = trip();
  move_trip_rows({.kind = Collective::all_to_all,
                  .input = t.answer,
                  .send_offsets = t.receive_offsets,
                  .output = t.answered,
                  .receive_offsets = t.send_offsets,
                  .element_bytes = t.row_bytes});
  trip_messages_->finish();
}

// One way of a round trip within the node.
void MpiGroup::move_trip_rows(const Started& way) {
  Call call = call_of(way);
  call.n = trip().num_parts;
  meet(call, input_bytes(way, rank_), 0);
  move_local_rows(way);
  agree();
  messages_.finish(way.name());
  rendezvous_->part();
  count_all_to_all(traffic_, rank_, way.send_offsets, way.receive_offsets, way.element_bytes);
}

// What comes by a message is in its place already, as far as the copy is concerned.
void MpiGroup::move_local_rows(const Started& call) {
  for (int i = 1; i < size_; ++i) {
    if (!is_local(other(i))) continue;
    const Rows in = received(call, other(i));
    if (input_by_message(other(i), in.bytes)) messages_.receive(in.begin, in.bytes, other(i));
  }
  for (int i = 1; i < size_; ++i) {
    if (!is_local(other(i))) continue;
    const Rows out = sent(call, rank_, other(i));
    if (input_by_message(rank_, out.bytes)) messages_.send(out.begin, out.bytes, other(i));
  }
  for (int r = 0; r < size_; ++r) inputs_[static_cast<size_t>(r)] = source_of(call, r);
  team_copy(team_, {inputs_, call.receive_offsets, call.element_bytes, call.output});
}

// Where the rows of rank `from` are.
const void* MpiGroup::source_of(const Started& call, int from) const {
  const Rows in = received(call, from);
  if (from == rank_) return sent(call, rank_, rank_).begin;
  if (in.bytes == 0 || input_by_message(from, in.bytes)) return in.begin;
  if (call.kind == Collective::all_gather) return input_of(from);
  const Call& peer = meeting_.calls[static_cast<size_t>(local_of_[static_cast<size_t>(from)])];
  return input_of(from) + static_cast<size_t>(peer.offsets[static_cast<size_t>(rank_)]) * call.element_bytes;
}

}  // namespace moehill
