// Group: the collectives of one device with its peers. A method exists only if every backend implements it
// and the conformance suite covers it. Rows, bytes and ranks; no experts, no tokens.
#pragma once

#include <cstdint>
#include <span>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/matrix.h"

namespace moehill {

// Bytes that this device sent and received so far (a local read of a peer's memory counts as received by the
// reader and as sent by the owner: what a network would have moved).
struct Traffic {
  uint64_t sent_bytes = 0;
  uint64_t received_bytes = 0;
};

// One device's handle. All methods are collective: every rank calls them in the same order, from the device's
// leading thread; the device's team does the copying and adding. Counts may differ between ranks and may be
// zero.
class Group {
 public:
  virtual ~Group() = default;
  virtual int rank() const = 0;
  virtual int size() const = 0;
  virtual ThreadTeam& team() = 0;

  virtual void barrier() = 0;

  // `output` [n] on every rank becomes the sum of `input` [n] over ranks, added in rank order in f32 (the
  // same bits on every rank), rounded once to the output type. Input and output may have different types (f32
  // partial sums, bf16 result); they may be the same memory if the types are.
  virtual void all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                          int64_t n) = 0;

  // Elements [offsets[r], offsets[r + 1]) of the sum of `input` [offsets[size]] go to rank r's `output`. Rank
  // order, f32 sums.
  virtual void reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                              void* output, DType output_dtype) = 0;

  // Rank r's `input` [offsets[r + 1] - offsets[r]] elements of `element_bytes` land at offsets[r] of every
  // rank's `output`. `input` may already lie in its place in `output`.
  virtual void all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                          void* output) = 0;

  // Elements [send_offsets[r], send_offsets[r + 1]) of `input` go to rank r; what rank r sends arrives at
  // receive_offsets[r]. The counts must agree pairwise; a disagreement is an invariant broken.
  virtual void all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                          std::span<const int64_t> receive_offsets, size_t element_bytes) = 0;

  // As mesh/traffic.h counts; barrier() counts nothing.
  virtual Traffic traffic() const = 0;
};

}  // namespace moehill
