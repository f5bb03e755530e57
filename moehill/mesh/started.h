// Started: the arguments of a collective in split phase, noted by its start for its finish().
#pragma once

#include <cstdint>
#include <span>

#include "moehill/tensor/dtype.h"

namespace moehill {

struct Started {
  enum class Kind { none, all_gather, all_to_all, reduce_scatter };

  Kind kind = Kind::none;
  const void* input = nullptr;
  std::span<const int64_t> send_offsets = {};  // [ranks + 1]; not of all_gather
  void* output = nullptr;
  std::span<const int64_t> receive_offsets = {};  // [ranks + 1]; not of reduce_scatter
  size_t element_bytes = 0;
  DType input_dtype = DType::f32, output_dtype = DType::f32;  // reduce_scatter only

  const char* name() const {
    if (kind == Kind::reduce_scatter) return "reduce_scatter";
    return kind == Kind::all_gather ? "all_gather" : "all_to_all";
  }
};

}  // namespace moehill
