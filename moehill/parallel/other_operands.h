// Other operands are a run's second set of operands. A step on them shows whether it uses anything that
// earlier steps left: results, packed weights, or scales of rows. They take the place of the first operands
// in memory and have the same magnitude. Their values follow from the first ones exactly, so that every bit
// can be restored. Tokens are multiplied by a power of two, and about half of the numbers of each weight
// matrix get the other sign.
//
//   flip_signs(team, w1, {0, num_experts});                 // other weights
//   flip_signs(team, w1, {0, num_experts});                 // the first ones again
//   scale_exactly(team, x, kOtherTokens);                   // other tokens
//   scale_exactly(team, x, 1 / kOtherTokens);
#pragma once

#include <bit>
#include <cstdint>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/weight_stack.h"

namespace moehill {

inline constexpr float kOtherTokens = -0.5f;  // x is multiplied by this
// W_g is multiplied by this. Then the other logits are the negatives of the first ones, to the bit.
inline constexpr float kOtherRouterWeights = 2.0f;

// Multiplies m by `factor`, a power of two or its negative. No number of m may be so small or so large that
// the product would be rounded.
inline void scale_exactly(ThreadTeam& team, const MatView& m, float factor) {
  team.parallel_for(m.rows, [&](int64_t begin, int64_t end) {
    for (int64_t r = begin; r < end; ++r) {
      for (int64_t c = 0; c < m.cols; ++c) m.set(r, c, factor * m.at(r, c));
    }
  });
}

// The place of a number in a stored matrix, times this factor, decides whether it gets the other sign. The
// bits are mixed, so that no product with the matrix is a multiple of the product before.
inline constexpr uint32_t kPlaceFactor = 0x9e3779b1u;
// Returns the sign bit of an f32 if a number gets the other sign, else 0. `place` has already been multiplied
// by kPlaceFactor.
inline uint32_t sign_bit(uint32_t place) { return (place ^ (place >> 15)) * 0x85ebca77u & 0x80000000u; }
inline bool has_other_sign(int64_t place) {
  return sign_bit(static_cast<uint32_t>(place) * kPlaceFactor) != 0;
}

inline void flip_sign(float& value, uint32_t sign) {
  value = std::bit_cast<float>(std::bit_cast<uint32_t>(value) ^ sign);
}
inline void flip_sign(bf16& value, uint32_t sign) {
  value.bits = static_cast<uint16_t>(value.bits ^ (sign >> 16));
}

// The loop has no branch and counts in words of 32 bits, so that the compiler makes vector code of it: a run
// flips all of its weights twice.
template <typename T>
void flip_signs(ThreadTeam& team, T* values, int64_t count) {
  team.parallel_for(count, [=](int64_t begin, int64_t end) {
    uint32_t place = static_cast<uint32_t>(begin) * kPlaceFactor;
    for (int64_t i = begin; i < end; ++i, place += kPlaceFactor) flip_sign(values[i], sign_bit(place));
  });
}

// Flips signs in these matrices of the stack, in each at the same places, so that copies of an expert stay
// equal. It skips a stack without data.
inline void flip_signs(ThreadTeam& team, const WeightView& stack, Range groups) {
  for (int64_t g = groups.begin; stack.data != nullptr && g < groups.end; ++g) {
    const WeightView matrix = stack.slice_groups(g, g + 1);
    if (stack.dtype == DType::f32) {
      flip_signs(team, static_cast<float*>(matrix.data), matrix.group_elements());
    } else {
      flip_signs(team, static_cast<bf16*>(matrix.data), matrix.group_elements());
    }
  }
}

}  // namespace moehill
