// StepTokens are the tokens of a step: those that each device has, and the routing that the caller brings for
// its own. This file also checks the caller's memory.
//
//     require_legal(own, shape, tokens.max);                        // in each process
//     take_token_counts(context, own.tokens, false, tokens);        // after the processes told each other
//     take_routing(own, tokens, routing);
#pragma once

#include <initializer_list>
#include <span>
#include <vector>

#include "moehill/api/context.h"
#include "moehill/block/shape.h"
#include "moehill/routing/plan.h"

namespace moehill {

struct StepTokens {
  int64_t max = 0;               // the most of this process
  int64_t own = 0;               // of this process
  int64_t first = 0;             // the number of its first token among all
  std::vector<int64_t> offsets;  // [P + 1] where the tokens of each device begin
};

// OwnRouting is the arguments of one process: expert_ids and gates are [tokens, k].
struct OwnRouting {
  int64_t tokens = 0;
  const int32_t* expert_ids = nullptr;
  const float* gates = nullptr;
};

// Cuts n evenly into parts: [parts + 1].
std::vector<int64_t> even_offsets(int64_t n, int parts);

// Throws Failure for more tokens than `max`, ids outside of [-1, E), and memory that cannot be read.
void require_legal(const OwnRouting& own, const MoeShape& shape, int64_t max);

// Returns a number that almost certainly differs if tokens, ids or gates differ.
int64_t fingerprint(const OwnRouting& own, int topk);
// Takes the values of the running call, which are the processes' numbers of tokens. If `is_replicated`, they
// are fingerprints and every process has all tokens; then it throws Failure in all processes if they differ.
void take_token_counts(const Context& context, int64_t own, bool is_replicated, StepTokens& tokens);
// Copies this process's rows to `routing`, which is for all tokens.
void take_routing(const OwnRouting& own, const StepTokens& tokens, Routing& routing);

// Throws Failure unless the values of the running call are all equal.
void require_equal_values(const Context& context, const char* what);

// NamedTensor is memory of the caller. Without elements the address may be anything, also null.
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
// In C++20 a span cannot be made of a braced list.
inline void require_memory(std::initializer_list<NamedTensor> read,
                           std::initializer_list<NamedTensor> written) {
  require_memory(std::span(read.begin(), read.size()), std::span(written.begin(), written.size()));
}

}  // namespace moehill
