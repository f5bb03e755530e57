// This header has pass_wire, which defines in plain arithmetic what a wire (tensor/wire.h) does to the values
// of a row. The oracle and the audit use it. It shares no code with kernels/wire_rows.h, which encodes and
// decodes the rows of a step, and it makes no bytes.
//
//   std::vector<float> row = {1.0f, 0.3f, 100.0f};
//   pass_wire(Wire::bf16, row);                      // the values as they arrive
//
// Gradients pass "straight through": the derivative of the wire counts as 1. So backward uses the values that
// arrived, and takes their gradient for the gradient of the values that were sent.
#pragma once

#include <algorithm>
#include <bit>
#include <cmath>
#include <limits>
#include <span>

#include "moehill/tensor/wire.h"

namespace moehill {

// Returns the value of e4m3 that is nearest to a magnitude of at most 448, ties to even. From 2^-6 on,
// neighbouring values differ by an eighth of the power of two below them; below 2^-6 they differ by 2^-9.
inline float nearest_fp8(float magnitude) {
  const uint32_t exponent = std::max(std::bit_cast<uint32_t>(magnitude) >> 23, 127u - 6u);
  const float step = std::bit_cast<float>((exponent - 3u) << 23);
  constexpr float kToWhole = 0x1p23f;  // from here on f32 has no fractions, so adding it rounds
  return (magnitude / step + kToWhole - kToWhole) * step;
}

// Returns the scale of a block: the smallest power of two, at least 2^-117, by which its finite magnitudes
// are divided to be at most 448. For a block of zeros it is 1.
inline float fp8_scale(std::span<const float> block) {
  float largest = 0;
  for (const float v : block) largest = std::isfinite(v) ? std::max(largest, std::abs(v)) : largest;
  if (largest == 0) return 1;
  float scale = 0x1p-117f;
  if (largest > 448 * scale) scale = std::exp2(std::ceil(std::log2(largest / 448)));
  // The logarithm is rounded, so the scale may be wrong by a factor of two.
  while (largest / scale > 448) scale *= 2;
  while (scale > 0x1p-117f && largest / scale <= 224) scale /= 2;
  return scale;
}

// Replaces the values of a row by those that arrive. A value that is not finite arrives as a NaN if the wire
// is fp8_scales.
inline void pass_wire(Wire wire, std::span<float> row) {
  if (wire == Wire::native) return;
  for (size_t begin = 0; wire == Wire::fp8_scales && begin < row.size(); begin += kWireBlock) {
    const std::span<float> block =
        row.subspan(begin, std::min(row.size() - begin, static_cast<size_t>(kWireBlock)));
    const float scale = fp8_scale(block);
    for (float& v : block) {
      const float arrived = std::isfinite(v) ? nearest_fp8(std::abs(v) / scale) * scale
                                             : std::numeric_limits<float>::quiet_NaN();
      v = std::copysign(arrived, v);
    }
  }
  for (size_t i = 0; wire == Wire::bf16 && i < row.size(); ++i) row[i] = to_f32(to_bf16(row[i]));
}

}  // namespace moehill
