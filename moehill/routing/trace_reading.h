// The parts of reading a trace: one for each kind of file, and what they have in common.
#pragma once

#include <string>

#include "moehill/base/error.h"
#include "moehill/routing/trace.h"

namespace moehill {

inline constexpr const char* kTraceOption = "--distribution trace";

// The part of a trace that is asked for; its sizes are the shape's.
struct TraceRequest {
  const TraceSelection& selection;
  int64_t num_tokens;
  int num_experts, topk;
};

// Fills in expert ids and gate values of tokens in turn; checks them.
class TraceTokens {
 public:
  explicit TraceTokens(const TraceRequest& request);

  bool complete() const { return next_ == routing_.num_tokens; }
  // The next token's k ids; gates: k values, or null for 1 / n. Throws InputError.
  void add(const int64_t* ids, const float* gates);
  // Throws InputError when tokens are missing.
  Routing take();

 private:
  void add_gates(const float* gates);
  int32_t* ids_of_next() { return routing_.expert.data() + next_ * routing_.topk; }

  Routing routing_;
  int64_t next_ = 0;
};

// Throws InputError that names the number of choices a token has in the file.
void require_topk(const TraceRequest& request, int64_t topk);

Routing read_npy_trace(const TraceRequest& request);
Routing read_json_trace(const TraceRequest& request);

}  // namespace moehill
