// This header has the tokens of a step: how many tokens each device has (StepTokens), and the routing that
// the caller gives for its own tokens (OwnRouting). It also checks the caller's memory (require_memory). It
// does not route.
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
  int64_t max = 0;               // the most tokens of this process in a step
  int64_t own = 0;               // number of tokens of this process
  int64_t first = 0;             // the number of this process's first token among all tokens
  std::vector<int64_t> offsets;  // [P + 1] where the tokens of each device begin
};

// OwnRouting has the arguments of one process's plan: expert_ids and gates are [tokens, k].
struct OwnRouting {
  int64_t tokens = 0;
  const int32_t* expert_ids = nullptr;
  const float* gates = nullptr;
};

// Cuts n evenly into parts and returns where they begin, [parts + 1].
std::vector<int64_t> even_offsets(int64_t n, int parts);

// Throws Failure for more tokens than `max`, ids that are neither -1 nor those of an expert or a zero expert,
// gate values that are not finite, and memory that cannot be read.
void require_legal(const OwnRouting& own, const MoeShape& shape, int64_t max);

// Returns a number that almost certainly differs if tokens, ids or gates differ.
int64_t fingerprint(const OwnRouting& own, int topk);
// Sets `tokens` from the values of the running call. These are the processes' numbers of tokens. But if
// `is_replicated`, every process has all tokens and the values are fingerprints: then this throws Failure, in
// all processes, if they differ.
void take_token_counts(const Context& context, int64_t own, bool is_replicated, StepTokens& tokens);
// Copies this process's ids and gates to their place in `routing`, which has all tokens.
void take_routing(const OwnRouting& own, const StepTokens& tokens, Routing& routing);

// Throws Failure unless the values of the running call are all equal.
void require_equal_values(const Context& context, const char* what);

// NamedTensor is memory of the caller, with the name of its argument for error messages. If it has no
// elements, its address may be anything, even null.
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
// In C++20 a span cannot be made from a braced list, so this overload takes the list.
inline void require_memory(std::initializer_list<NamedTensor> read,
                           std::initializer_list<NamedTensor> written) {
  require_memory(std::span(read.begin(), read.size()), std::span(written.begin(), written.size()));
}

}  // namespace moehill
