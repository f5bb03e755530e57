// This header counts the bytes that each collective would move over a network if it used the cheapest way
// with the same result. Every backend counts bytes by these functions, so that figures of backends can be
// compared.
#pragma once

#include <cstdint>
#include <span>

#include "moehill/mesh/group.h"
#include "moehill/mesh/line_share.h"

namespace moehill {

// Counts an all-gather: every rank sends its `own` elements to the num_ranks - 1 others; all ranks have
// `total` elements.
inline void count_all_gather(Traffic& traffic, int num_ranks, int64_t own, int64_t total,
                             size_t element_bytes) {
  traffic.sent_bytes += static_cast<uint64_t>(own * (num_ranks - 1)) * element_bytes;
  traffic.received_bytes += static_cast<uint64_t>(total - own) * element_bytes;
}

// Counts a reduce-scatter: every rank sends the partial sums that others own and receives num_ranks - 1
// partial sums of its own. An all-reduce is a reduce-scatter in the input type and then an all-gather in the
// output type.
inline void count_reduce_scatter(Traffic& traffic, int num_ranks, int64_t own, int64_t total,
                                 size_t element_bytes) {
  traffic.sent_bytes += static_cast<uint64_t>(total - own) * element_bytes;
  traffic.received_bytes += static_cast<uint64_t>(own * (num_ranks - 1)) * element_bytes;
}

// Returns the bytes that rank `rank` sends to other nodes in an all-reduce, whose slices are cut at cache
// lines.
inline uint64_t all_reduce_network_bytes(const Nodes& nodes, int rank, int num_ranks, int64_t n,
                                         size_t input_bytes, size_t output_bytes) {
  const auto slice = [&](int r) {
    return static_cast<uint64_t>(line_share({0, n}, r, num_ranks, kLineElements).size());
  };
  uint64_t bytes = 0;
  for (int r = 0; r < num_ranks; ++r) {
    if (nodes.of(r) != nodes.of(rank)) bytes += slice(r) * input_bytes + slice(rank) * output_bytes;
  }
  return bytes;
}

// Counts an all-to-all. A rank's elements for itself do not count.
inline void count_all_to_all(Traffic& traffic, int rank, std::span<const int64_t> send_offsets,
                             std::span<const int64_t> receive_offsets, size_t element_bytes) {
  const auto to_others = [rank](std::span<const int64_t> offsets) {
    const size_t r = static_cast<size_t>(rank);
    return static_cast<uint64_t>(offsets.back() - offsets.front() - (offsets[r + 1] - offsets[r]));
  };
  traffic.sent_bytes += to_others(send_offsets) * element_bytes;
  traffic.received_bytes += to_others(receive_offsets) * element_bytes;
}

}  // namespace moehill
