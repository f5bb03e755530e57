#include "moehill/mesh/solo/solo_group.h"

#include <fmt/format.h>

#include "moehill/mesh/arguments.h"
#include "moehill/mesh/copy.h"
#include "moehill/mesh/errors.h"
#include "moehill/mesh/sum.h"

namespace moehill {

void SoloGroup::all_reduce(const void* input, DType input_dtype, void* output, DType output_dtype,
                           int64_t n) {
  check_count("all_reduce", n);
  if (input == output && input_dtype == output_dtype) return;
  team_sum(team_, {{&input, 1}, input_dtype, 0, {&output, 1}, output_dtype, 0, n});
}

void SoloGroup::reduce_scatter(const void* input, DType input_dtype, std::span<const int64_t> offsets,
                               void* output, DType output_dtype) {
  check_offsets("reduce_scatter", offsets, 1);
  all_reduce(input, input_dtype, output, output_dtype, offsets[1]);
}

void SoloGroup::all_gather(const void* input, std::span<const int64_t> offsets, size_t element_bytes,
                           void* output) {
  check_offsets("all_gather", offsets, 1);
  team_copy(team_, {{&input, 1}, offsets, element_bytes, output});
}

void SoloGroup::all_to_all(const void* input, std::span<const int64_t> send_offsets, void* output,
                           std::span<const int64_t> receive_offsets, size_t element_bytes) {
  check_offsets("all_to_all", send_offsets, 1);
  check_offsets("all_to_all", receive_offsets, 1);
  if (send_offsets[1] != receive_offsets[1]) {
    throw CollectiveError(fmt::format("all_to_all: rank 0 sends {} elements to rank 0, which expects {}",
                                      send_offsets[1], receive_offsets[1]));
  }
  team_copy(team_, {{&input, 1}, receive_offsets, element_bytes, output});
}

}  // namespace moehill
