// The bytes that each collective would move over a network, by the cheapest way that has the same result: the
// yardstick of every backend, so that their figures can be compared.
#pragma once

#include <cstdint>
#include <span>

#include "moehill/mesh/group.h"

namespace moehill {

// Every rank sends its `own` elements to the num_ranks - 1 others, `total` elements over all ranks.
inline void count_all_gather(Traffic& traffic, int num_ranks, int64_t own, int64_t total,
                             size_t element_bytes) {
  traffic.sent_bytes += static_cast<uint64_t>(own * (num_ranks - 1)) * element_bytes;
  traffic.received_bytes += static_cast<uint64_t>(total - own) * element_bytes;
}

// The mirror: every rank sends the partial sums that others own and receives num_ranks - 1 partial sums of
// its own. An all-reduce is this in the input type, then an all-gather in the output type.
inline void count_reduce_scatter(Traffic& traffic, int num_ranks, int64_t own, int64_t total,
                                 size_t element_bytes) {
  traffic.sent_bytes += static_cast<uint64_t>(total - own) * element_bytes;
  traffic.received_bytes += static_cast<uint64_t>(own * (num_ranks - 1)) * element_bytes;
}

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
