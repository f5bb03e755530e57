// The tokens of a step: which of them each device has, and the routing that the caller brings for its own.
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "moehill/api/context.h"
#include "moehill/block/shape.h"
#include "moehill/routing/plan.h"

namespace moehill {

struct StepTokens {
  int64_t max = 0;               // of this process
  int64_t own = 0;               // of this process
  int64_t first = 0;             // the number of its first one among all
  std::vector<int64_t> offsets;  // [P + 1] where each device's begin
};

// The arguments of one process: expert_ids and gates [tokens, k].
struct OwnRouting {
  int64_t tokens = 0;
  const int32_t* expert_ids = nullptr;
  const float* gates = nullptr;
};

// n cut evenly into so many parts: [parts + 1].
std::vector<int64_t> even_offsets(int64_t n, int parts);

// Throws Failure for more tokens than `max`, ids outside [-1, E) and memory that cannot be read.
void require_legal(const OwnRouting& own, const MoeShape& shape, int64_t max);

// A number that differs, as far as can be told, where tokens, ids or gates do.
int64_t fingerprint(const OwnRouting& own, int topk);
// Takes the values of the running call, which are the processes' numbers of tokens. With `is_replicated` they
// are fingerprints, and every process has all tokens; throws Failure, in all processes, where they differ.
void take_token_counts(const Context& context, int64_t own, bool is_replicated, StepTokens& tokens);
// The rows of `routing` [all tokens] that are this process's.
void take_routing(const OwnRouting& own, const StepTokens& tokens, Routing& routing);

// Throws Failure unless the values of the running call are all equal.
void require_equal_values(const Context& context, const char* what);

// Memory of the caller; without elements it may be anything, null too.
struct NamedTensor {
  const char* name;
  const void* data;
  int64_t elements;
  size_t element_bytes;
  uintptr_t bytes() const { return static_cast<uintptr_t>(elements) * element_bytes; }
};
// Throws Failure for null, for memory that is not aligned to its elements, and for a written tensor that
// overlaps another one.
void require_memory(std::span<const NamedTensor> read, std::span<const NamedTensor> written);
// C++20 makes no span of a braced list.
inline void require_memory(std::initializer_list<NamedTensor> read,
                           std::initializer_list<NamedTensor> written) {
  require_memory(std::span(read.begin(), read.size()), std::span(written.begin(), written.size()));
}

}  // namespace moehill
