// Started: the arguments of a collective in split phase, noted by its start for its finish().
#pragma once

#include <cstdint>
#include <optional>
#include <span>

#include "moehill/mesh/collective.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

struct Started {
  std::optional<Collective> kind = {};  // not all_reduce; none: nothing is started
  const void* input = nullptr;
  std::span<const int64_t> send_offsets = {};  // [ranks + 1]; not of all_gather
  void* output = nullptr;
  std::span<const int64_t> receive_offsets = {};  // [ranks + 1]; not of reduce_scatter
  size_t element_bytes = 0;
  DType input_dtype = DType::f32, output_dtype = DType::f32;  // reduce_scatter only

  const char* name() const { return name_of(kind.value()); }
};

}  // namespace moehill
