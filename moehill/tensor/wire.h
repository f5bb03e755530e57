// Wire is the form in which a row of a token travels between nodes. Fewer bytes make the exchange faster and
// the result less exact. kernels/wire_rows.h encodes rows.
//
//   wire_row_bytes(Wire::fp8_scales, 2048, DType::bf16);   // 2112 in place of 4096
#pragma once

#include <cstdint>

#include "moehill/tensor/dtype.h"

namespace moehill {

// native: the row travels as it is stored. bf16: each value is rounded to bf16. fp8_scales: values are in
// e4m3 (four bits of exponent, three of mantissa, no infinity), and each kWireBlock columns share a scale in
// f32.
enum class Wire { native, bf16, fp8_scales };
constexpr auto words(Wire) { return std::array{"native", "bf16", "fp8+scales"}; }

inline constexpr int64_t kWireBlock = 128;

constexpr int64_t num_wire_blocks(int64_t cols) { return (cols + kWireBlock - 1) / kWireBlock; }

// Returns the bytes on the wire of a row of `cols` values that are stored as `dtype`.
constexpr int64_t wire_row_bytes(Wire wire, int64_t cols, DType dtype) {
  if (wire == Wire::bf16) return 2 * cols;
  if (wire == Wire::fp8_scales) return cols + 4 * num_wire_blocks(cols);
  return cols * (dtype == DType::f32 ? 4 : 2);
}

}  // namespace moehill
