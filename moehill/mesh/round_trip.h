// RoundTrip: the arguments of a collective whose rows go to other ranks, are worked on there, and are
// answered by as many rows, both ways in parts.
#pragma once

#include <cstdint>
#include <span>

namespace moehill {

// Rows and answers of a round trip in parts. Part p of the rows to (from) rank r is [cuts[r * (num_parts + 1)
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

}  // namespace moehill
