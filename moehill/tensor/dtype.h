// This header has the storage types: f32 and bf16 (the upper 16 bits of an f32). They are forms of storage
// only: arithmetic is always in f32, and a result that is stored as bf16 is rounded to nearest, ties to even.
//
//   const bf16 stored = to_bf16(0.1f);
//   const float value = to_f32(stored);   // 0.10009766
#pragma once

#include <array>
#include <bit>
#include <cstddef>
#include <cstdint>

#include "moehill/base/words.h"

namespace moehill {

// DType is the storage type of a tensor.
enum class DType { f32, bf16 };

inline size_t dtype_bytes(DType dtype) { return dtype == DType::f32 ? 4 : 2; }
constexpr auto words(DType) { return std::array{"f32", "bf16"}; }
inline const char* dtype_name(DType dtype) { return name_of(dtype); }

struct bf16 {
  uint16_t bits = 0;
};

inline float to_f32(bf16 value) { return std::bit_cast<float>(static_cast<uint32_t>(value.bits) << 16); }
inline float to_f32(float value) { return value; }

// Rounds to nearest, ties to even. A NaN stays a NaN: its quiet bit is set, because cutting off the lower
// half of its bits could otherwise make it an infinity.
inline bf16 to_bf16(float value) {
  const uint32_t bits = std::bit_cast<uint32_t>(value);
  if ((bits & 0x7fffffffu) > 0x7f800000u) return bf16{static_cast<uint16_t>((bits >> 16) | 0x40u)};
  return bf16{static_cast<uint16_t>((bits + 0x7fffu + ((bits >> 16) & 1u)) >> 16)};
}

template <typename T>
inline T from_f32(float value);
template <>
inline float from_f32<float>(float value) {
  return value;
}
template <>
inline bf16 from_f32<bf16>(float value) {
  return to_bf16(value);
}

// Returns the number that a tensor of this type has after `value` was stored in it.
inline float rounded_to(DType dtype, float value) {
  return dtype == DType::f32 ? value : to_f32(to_bf16(value));
}

template <typename T>
inline constexpr DType dtype_of = DType::f32;
template <>
inline constexpr DType dtype_of<bf16> = DType::bf16;

}  // namespace moehill
