// Call: what one rank passes to a collective, as its peers see it, and where calls do not go together.
#pragma once

#include <cstdint>
#include <span>
#include <string>

#include "moehill/mesh/started.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

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

}  // namespace moehill
