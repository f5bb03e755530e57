// Implementation of api/step_tokens.h: the conditions for a step's tokens, routing and memory, and the way
// from the routing of this process into the routing of all.
#include "moehill/api/step_tokens.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "moehill/base/error.h"
#include "moehill/base/hash.h"

namespace moehill {

// Returns where each of `parts` nearly equal parts of n things begins, and the end.
std::vector<int64_t> even_offsets(int64_t n, int parts) {
  std::vector<int64_t> offsets;
  for (int i = 0; i <= parts; ++i) offsets.push_back(n * i / parts);
  return offsets;
}

void require_legal(const OwnRouting& own, const MoeShape& shape, int64_t max) {
  if (own.tokens < 0 || own.tokens > max) {
    throw invalid("tokens", fmt::format("{}", own.tokens),
                  fmt::format("0 to {}, the max_tokens of the object", max), "make the object for more");
  }
  const int64_t choices = own.tokens * shape.topk;
  require_memory({{"expert_ids", own.expert_ids, choices, sizeof(int32_t)},
                  {"gates", own.gates, choices, sizeof(float)}},
                 {});
  for (int64_t i = 0; i < choices; ++i) {
    const int32_t id = own.expert_ids[i];
    // The id -1 is a choice that no expert gets; its gate value does not matter.
    if (id < kNoExpert || id >= shape.num_logits())
      throw invalid("expert_ids", fmt::format("{} for token {}", id, i / shape.topk),
                    fmt::format("0 to {}, or -1 for no expert", shape.num_logits() - 1), "check the router");
    if (id != kNoExpert && !std::isfinite(own.gates[i]))
      throw invalid("gates", fmt::format("{} for token {}", unsigned_nan(own.gates[i]), i / shape.topk),
                    "finite numbers", "check the router");
  }
}

// Throws unless all processes gave the same value in the agreement of this call.
void require_equal_values(const Context& context, const char* what) {
  for (int r = 1; r < context.num_processes(); ++r) {
    if (context.value_of(r) == context.value_of(0)) continue;
    throw invalid(what, fmt::format("another one in process {} than in process 0", r),
                  "the same in all processes", "pass the same");
  }
}

// Returns a hash of the routing. Processes that should have all tokens compare these.
int64_t fingerprint(const OwnRouting& own, int topk) {
  uint64_t hash = fnv1a(kFnvStart, static_cast<uint64_t>(own.tokens));
  for (int64_t i = 0; i < own.tokens * topk; ++i) {
    const uint64_t id = static_cast<uint32_t>(own.expert_ids[i]);
    hash = fnv1a(hash, id << 32 | std::bit_cast<uint32_t>(own.gates[i]));
  }
  return static_cast<int64_t>(hash);
}

void take_token_counts(const Context& context, int64_t own, bool is_replicated, StepTokens& tokens) {
  if (is_replicated) require_equal_values(context, "the routing (tokens, expert_ids, gates)");
  tokens.own = own;
  tokens.first = 0;
  if (is_replicated || !context.spans_processes()) {
    // In one process, or with replicated tokens, the devices share the tokens evenly.
    const int64_t parts = context.num_devices();
    for (int64_t d = 0; d <= parts; ++d) tokens.offsets[static_cast<size_t>(d)] = own * d / parts;
    return;
  }
  // Otherwise the processes bring different tokens, in the order of ranks.
  for (int r = 0; r < context.num_processes(); ++r)
    tokens.offsets[static_cast<size_t>(r) + 1] = tokens.offsets[static_cast<size_t>(r)] + context.value_of(r);
  tokens.first = tokens.offsets[static_cast<size_t>(context.rank())];
}

void take_routing(const OwnRouting& own, const StepTokens& tokens, Routing& routing) {
  routing.num_tokens = tokens.offsets.back();
  routing.expert.resize(static_cast<size_t>(routing.num_tokens * routing.topk));
  routing.weight.resize(routing.expert.size());
  // Only the part of this process is filled in. A path sends other processes the rows of it that they need.
  std::copy_n(own.expert_ids, own.tokens * routing.topk,
              routing.expert.begin() + tokens.first * routing.topk);
  std::copy_n(own.gates, own.tokens * routing.topk, routing.weight.begin() + tokens.first * routing.topk);
  if (routing.num_zero_experts == 0) return;
  routing.zero.resize(routing.expert.size());
  for (int64_t i = 0; i < own.tokens * routing.topk; ++i) {
    const size_t at = static_cast<size_t>(tokens.first * routing.topk + i);
    // Ids behind the experts are zero experts, which the routing keeps apart.
    routing.zero[at] = std::max(own.expert_ids[i] - routing.num_experts, -1);
    if (routing.zero[at] >= 0) routing.expert[at] = kNoExpert;
  }
}

namespace {

// Returns true if the two tensors share a byte.
bool overlap(const NamedTensor& a, const NamedTensor& b) {
  const uintptr_t first = reinterpret_cast<uintptr_t>(a.data), second = reinterpret_cast<uintptr_t>(b.data);
  return a.elements > 0 && b.elements > 0 && first < second + b.bytes() && second < first + a.bytes();
}

void require_aligned(const NamedTensor& tensor) {
  if (tensor.elements == 0) return;
  if (tensor.data == nullptr) throw null_argument(tensor.name);
  if (reinterpret_cast<uintptr_t>(tensor.data) % tensor.element_bytes == 0) return;
  throw invalid(tensor.name, fmt::format("the address {}", tensor.data),
                fmt::format("a multiple of {}, the size of an element", tensor.element_bytes), "align it");
}

// Throws if a result would overwrite memory that the call still reads or also writes.
void require_apart(const NamedTensor& result, const NamedTensor& other) {
  if (!overlap(result, other)) return;
  throw invalid(result.name, fmt::format("memory that overlaps {}", other.name), "memory of its own",
                "allocate one more tensor");
}

}  // namespace

void require_memory(std::span<const NamedTensor> read, std::span<const NamedTensor> written) {
  for (const NamedTensor& tensor : read) require_aligned(tensor);
  for (size_t i = 0; i < written.size(); ++i) {
    require_aligned(written[i]);
    for (const NamedTensor& tensor : read) require_apart(written[i], tensor);
    for (size_t j = 0; j < i; ++j) require_apart(written[i], written[j]);
  }
}

}  // namespace moehill
