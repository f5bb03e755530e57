// What ranks pass to collectives: the arguments that a start notes (Started, RoundTrip), what peers see of a
// call (Call), and the checks of one rank's arguments and of calls that do not go together.
#pragma once

#include <cstdint>
#include <optional>
#include <span>
#include <string>

#include "moehill/mesh/collective.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// The arguments of a collective in split phase, noted by its start for its finish().
struct Started {
  std::optional<Collective> kind = {};  // not all_reduce; none: nothing is started
  const void* input = nullptr;
  std::span<const int64_t> send_offsets = {};  // [ranks + 1]; not of all_gather
  void* output = nullptr;
  std::span<const int64_t> receive_offsets = {};  // [ranks + 1]; not of reduce_scatter
  size_t element_bytes = 0;
  DType input_dtype = DType::f32, output_dtype = DType::f32;  // reduce_scatter only

  const char* name() const { return name_of(kind.value()); }
};

// The arguments of a collective whose rows go to other ranks, are worked on there, and are answered by as
// many rows, both ways in parts. Part p of the rows to (from) rank r is [cuts[r * (num_parts + 1)
// + p], cuts[r * (num_parts + 1) + p + 1]) of the array. Parts may be empty; how the answers are cut has
// nothing to do with how the rows were.
struct RoundTrip {
  int num_parts = 1;  // the same on all ranks
  size_t row_bytes = 0;
  std::span<const int64_t> send_offsets, receive_offsets;  // [ranks + 1] rows
  const void* sent = nullptr;                              // [rows sent]
  void* received = nullptr;                                // [rows received]
  const void* answer = nullptr;                            // [rows received], where it goes back from
  void* answered = nullptr;                                // [rows sent]; not `sent`
  std::span<const int64_t> sent_cuts, received_cuts, answer_cuts, answered_cuts;  // [ranks][num_parts + 1]
};

// A call lies on cache lines of its own: peers read it while its owner's neighbours write theirs.
struct alignas(64) Call {
  CallKind kind = CallKind::barrier;
  DType input_dtype = DType::f32;
  DType output_dtype = DType::f32;
  int rank = 0;
  int64_t n = 0;
  size_t element_bytes = 0;
  std::span<const int64_t> offsets = {};          // what is sent, [ranks + 1]
  std::span<const int64_t> receive_offsets = {};  // all_to_all, [ranks + 1]
  const void* input = nullptr;
  void* output = nullptr;
};

Call call_of(const Started& started);

// Returns an empty text if all calls go together as far as every rank passes the same. If any two differ,
// every rank sees one that differs from its own, calls[own].
std::string find_disagreement(std::span<const Call> calls, size_t own);

// Returns an empty text if, at an all_to_all, every rank of `calls` expects what every other one sends to it.
std::string find_count_disagreement(std::span<const Call> calls);
std::string count_disagreement(int from, int64_t sent, int to, int64_t expected);

// offsets: [num_ranks + 1], starting at 0 and never falling. Throws CollectiveError.
void check_offsets(const char* collective, std::span<const int64_t> offsets, int num_ranks);
void check_count(const char* collective, int64_t n);

}  // namespace moehill
