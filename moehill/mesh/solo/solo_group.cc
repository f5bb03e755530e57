#include "moehill/mesh/solo/solo_group.h"

#include "moehill/mesh/errors.h"
#include "moehill/mesh/group.h"
#include "moehill/mesh/jobs.h"

namespace moehill {

void SoloGroup::all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                           int64_t n) {
  require_idle("all_reduce");
  check_count("all_reduce", n);
  if (input == output && input_dtype == output_dtype) return;
  team_sum(team_, {{&input, 1}, input_dtype, 0, {&output, 1}, output_dtype, 0, n});
}

// The device sends only to itself, so each array of rows is one copy.
void SoloGroup::finish() {
  const Started call = take_started();
  if (call.kind == Collective::reduce_scatter) {
    return all_reduce(call.input, call.input_dtype, call.output, call.output_dtype, call.send_offsets[1]);
  }
  if (call.kind == Collective::all_to_all && call.send_offsets[1] != call.receive_offsets[1]) {
    throw CollectiveError(count_disagreement(0, call.send_offsets[1], 0, call.receive_offsets[1]));
  }
  team_copy(team_, {{&call.input, 1}, call.receive_offsets, call.element_bytes, call.output});
}

std::shared_ptr<void> SoloGroup::exchange_memory(size_t bytes) {
  require_idle("exchange_memory");
  return make_exchange_buffer(bytes);
}

}  // namespace moehill
