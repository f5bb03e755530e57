#include "moehill/mesh/group.h"

#include <utility>

#include "moehill/base/error.h"
#include "moehill/mesh/call.h"

namespace moehill {

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
              .element_bytes = element_bytes};
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

void Group::begin_trip(const RoundTrip& trip) {
  require_idle("round_trip");
  check_offsets("round_trip", trip.send_offsets, size());
  check_offsets("round_trip", trip.receive_offsets, size());
  trip_ = trip;
  trip_landed_ = false;
}

// One after the other, where nothing is gained by parts.
void Group::start_round_trip(const RoundTrip& trip) {
  begin_trip(trip);
  start_all_to_all(trip.sent, trip.send_offsets, trip.received, trip.receive_offsets, trip.row_bytes);
}

void Group::await(int) {
  if (!std::exchange(trip_landed_, true)) finish();
}

void Group::answer(int part) {
  if (part + 1 < trip_.num_parts) return;
  start_all_to_all(trip_.answer, trip_.receive_offsets, trip_.answered, trip_.send_offsets, trip_.row_bytes);
}

void Group::finish_round_trip() { finish(); }

void Group::require_idle(const char* call) const {
  MOEHILL_CHECK(started_.kind == std::nullopt, "{} on rank {} before finish() of {}", call, rank(),
                started_.name());
}

Started Group::take_started() {
  MOEHILL_CHECK(started_.kind != std::nullopt, "finish() on rank {} without a start", rank());
  return std::exchange(started_, {});
}

}  // namespace moehill
