// This header has the parts of reading a trace: one function for each kind of file, and the common parts. It
// is only for trace*.cc; others call read_trace() (trace.h).
#pragma once

#include <string>

#include "moehill/base/error.h"
#include "moehill/routing/trace.h"

namespace moehill {

inline constexpr const char* kTraceOption = "--distribution trace";

// TraceRequest is a request for a trace; the sizes are those of the block's shape.
struct TraceRequest {
  const TraceSelection& selection;
  int64_t num_tokens;
  int num_experts, topk;
};

// TraceTokens takes tokens one after the other and checks their expert ids and gate values.
class TraceTokens {
 public:
  explicit TraceTokens(const TraceRequest& request);

  bool complete() const { return next_ == routing_.num_tokens; }
  // Adds the next token. ids has its k expert ids; gates has k values, or is null for 1 / n. Throws
  // InputError.
  void add(const int64_t* ids, const float* gates);
  // Returns the routing. Throws InputError if tokens are missing.
  Routing take();

 private:
  void add_gates(const float* gates);
  int32_t* ids_of_next() { return routing_.expert.data() + next_ * routing_.topk; }

  Routing routing_;
  int64_t next_ = 0;
};

// Throws InputError if the file has another number of choices for each token; the message says which.
void require_topk(const TraceRequest& request, int64_t topk);

Routing read_npy_trace(const TraceRequest& request);
Routing read_json_trace(const TraceRequest& request);

}  // namespace moehill
