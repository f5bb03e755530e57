// This file has the parts of Group that all backends share: collectives in split phase, round trips by two
// all_to_alls, the counting of bytes, and the comparison of calls.
#include "moehill/mesh/group.h"

#include <fmt/format.h>
#include <fmt/ranges.h>

#include <algorithm>
#include <utility>

#include "moehill/base/error.h"
#include "moehill/base/table.h"
#include "moehill/mesh/errors.h"
#include "moehill/mesh/traffic.h"

namespace moehill {
namespace {

// Returns a call in words, for the message when ranks disagree.
std::string describe(const Call& call) {
  std::string text = name_of(call.kind);
  if (call.kind == CallKind::all_reduce) {
    text += fmt::format(" of {} {} to {}", count_text(call.n, "element"), dtype_name(call.input_dtype),
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

// True if the two calls can be one collective.
bool alike(const Call& a, const Call& b) {
  return a.kind == b.kind && a.input_dtype == b.input_dtype && a.output_dtype == b.output_dtype &&
         a.n == b.n && a.element_bytes == b.element_bytes &&
         (counts_may_differ(a.kind) ||
          std::equal(a.offsets.begin(), a.offsets.end(), b.offsets.begin(), b.offsets.end()));
}

int64_t count_at(std::span<const int64_t> offsets, int rank) {
  const size_t r = static_cast<size_t>(rank);
  return offsets[r + 1] - offsets[r];
}

}  // namespace

Traffic& Traffic::operator+=(const Traffic& other) {
  sent_bytes += other.sent_bytes;
  received_bytes += other.received_bytes;
  wait_seconds += other.wait_seconds;
  flight_seconds += other.flight_seconds;
  progress_calls += other.progress_calls;
  num_messages += other.num_messages;
  message_bytes += other.message_bytes;
  network_bytes += other.network_bytes;
  return *this;
}

Traffic Traffic::since(const Traffic& before) const {
  return {.sent_bytes = sent_bytes - before.sent_bytes,
          .received_bytes = received_bytes - before.received_bytes,
          .wait_seconds = wait_seconds - before.wait_seconds,
          .flight_seconds = flight_seconds - before.flight_seconds,
          .progress_calls = progress_calls - before.progress_calls,
          .num_messages = num_messages - before.num_messages,
          .message_bytes = message_bytes - before.message_bytes,
          .network_bytes = network_bytes - before.network_bytes};
}

void Group::start_all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                             void* output) {
  require_idle("all_gather");
  check_offsets("all_gather", offsets, size());
  started_ = {.kind = Collective::all_gather,
              .input = input,
              .output = output,
              .receive_offsets = offsets,
              .element_bytes = element_bytes};
}

void Group::start_all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                             std::span<const int64_t> receive_offsets, size_t element_bytes) {
  require_idle("all_to_all");
  check_offsets("all_to_all", send_offsets, size());
  check_offsets("all_to_all", receive_offsets, size());
  started_ = {.kind = Collective::all_to_all,
              .input = input,
              .send_offsets = send_offsets,
              .output = output,
              .receive_offsets = receive_offsets,
              .element_bytes = element_bytes,
              .far = std::exchange(far_, {})};
}

void Group::start_reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                                 void* output, DType output_dtype) {
  require_idle("reduce_scatter");
  check_offsets("reduce_scatter", offsets, size());
  started_ = {.kind = Collective::reduce_scatter,
              .input = input,
              .send_offsets = offsets,
              .output = output,
              .element_bytes = dtype_bytes(input_dtype),
              .input_dtype = input_dtype,
              .output_dtype = output_dtype};
}

// One number for each rank is an all_to_all whose offsets are 0, 1, 2 and so on.
void Group::exchange_counts(const int64_t* own, int64_t* theirs) {
  while (std::ssize(one_each_) <= size()) one_each_.push_back(std::ssize(one_each_));
  all_to_all(own, one_each_, theirs, one_each_, sizeof(int64_t));
}

void Group::begin_trip(const RoundTrip& trip) {
  require_idle("round_trip");
  check_offsets("round_trip", trip.send_offsets, size());
  check_offsets("round_trip", trip.receive_offsets, size());
  trip_ = trip;
  trip_landed_ = false;
}

// A backend without a better way makes a round trip by two all_to_alls, one after the other.
void Group::start_round_trip(const RoundTrip& trip) {
  begin_trip(trip);
  far_ = trip.far;
  start_all_to_all(trip.sent, trip.send_offsets, trip.received, trip.receive_offsets, trip.row_bytes);
}

// The rows arrive all at once, so the first wait finishes the all_to_all for all parts.
void Group::await(int) {
  if (!std::exchange(trip_landed_, true)) finish();
}

// The answers go back all at once, when the last part is complete.
void Group::answer(int part) {
  if (part + 1 < trip_.num_parts) return;
  start_all_to_all(trip_.answer, trip_.receive_offsets, trip_.answered, trip_.send_offsets, trip_.row_bytes);
}

void Group::finish_round_trip() { finish(); }

uint64_t Group::network_bytes(const Started& call) const {
  if (nodes_.num() == 1) return 0;
  const int64_t others = size() - std::ssize(nodes_.ranks_of(nodes_.of(rank())));
  const int64_t elements = call.kind == Collective::all_gather
                               ? others * count_at(call.receive_offsets, rank())
                               : nodes_.elsewhere(call.send_offsets, rank());
  return static_cast<uint64_t>(elements) * (call.far.row_bytes > 0 ? call.far.row_bytes : call.element_bytes);
}

void Group::count_rows(const Started& call, Traffic& traffic) const {
  count_all_to_all(traffic, rank(), call.send_offsets, call.receive_offsets, call.element_bytes);
  if (call.far.row_bytes == 0) return;
  // Rows to and from other nodes have another size, so their bytes replace those that were counted.
  const auto other_form = [&](std::span<const int64_t> offsets, uint64_t& bytes) {
    const uint64_t rows = static_cast<uint64_t>(nodes_.elsewhere(offsets, rank()));
    bytes += rows * call.far.row_bytes;
    bytes -= rows * call.element_bytes;
  };
  other_form(call.send_offsets, traffic.sent_bytes);
  other_form(call.receive_offsets, traffic.received_bytes);
}

void Group::require_idle(const char* call) const {
  MOEHILL_CHECK(started_.kind == std::nullopt, "{} on rank {} before finish() of {}", call, rank(),
                started_.name());
}

Started Group::take_started() {
  MOEHILL_CHECK(started_.kind != std::nullopt, "finish() on rank {} without a start", rank());
  return std::exchange(started_, {});
}

Call call_of(const Started& started) {
  if (started.kind == Collective::all_to_all) {
    return {.kind = CallKind::all_to_all,
            .element_bytes = started.element_bytes,
            .offsets = started.send_offsets,
            .receive_offsets = started.receive_offsets,
            .input = started.input,
            .far_input = started.far.sent};
  }
  if (started.kind == Collective::reduce_scatter) {
    return {.kind = CallKind::reduce_scatter,
            .input_dtype = started.input_dtype,
            .output_dtype = started.output_dtype,
            .offsets = started.send_offsets,
            .input = started.input};
  }
  return {.kind = CallKind::all_gather,
          .element_bytes = started.element_bytes,
          .offsets = started.receive_offsets,
          .input = started.input};
}

std::string find_disagreement(std::span<const Call> calls, size_t own) {
  for (const Call& call : calls) {
    // The lower rank is named first, so that all ranks give the same message.
    if (alike(calls[own], call)) continue;
    const bool own_first = calls[own].rank < call.rank;
    const Call& low = own_first ? calls[own] : call;
    const Call& high = own_first ? call : calls[own];
    return fmt::format("the devices disagree: rank {} is at {}, rank {} is at {}", low.rank, describe(low),
                       high.rank, describe(high));
  }
  return {};
}

// In an all_to_all, `from` must send as many elements to `to` as `to` expects.
std::string find_count_disagreement(std::span<const Call> calls) {
  for (const Call& from : calls) {
    for (const Call& to : calls) {
      const int64_t sent = count_at(from.offsets, to.rank);
      const int64_t expected = count_at(to.receive_offsets, from.rank);
      if (sent != expected) return count_disagreement(from.rank, sent, to.rank, expected);
    }
  }
  return {};
}

std::string count_disagreement(int from, int64_t sent, int to, int64_t expected) {
  return fmt::format("all_to_all: rank {} sends {} to rank {}, which expects {}", from,
                     count_text(sent, "element"), to, expected);
}

void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks) {
  if (static_cast<int>(offsets.size()) != num_ranks + 1) {
    throw CollectiveError(fmt::format("{}: got {} for {}, allowed: one more than ranks", collective,
                                      count_text(std::ssize(offsets), "offset"),
                                      count_text(num_ranks, "rank")));
  }
  if (offsets.front() != 0 || !std::is_sorted(offsets.begin(), offsets.end())) {
    throw CollectiveError(fmt::format("{}: offsets must start at 0 and never fall, got {} to {}", collective,
                                      offsets.front(), offsets.back()));
  }
}

void check_count(const char* collective, int64_t n) {
  if (n < 0) throw CollectiveError(fmt::format("{}: got {} elements, allowed: 0 or more", collective, n));
}

}  // namespace moehill
