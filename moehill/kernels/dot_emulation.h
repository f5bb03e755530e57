// This header emulates the CPU's instructions for bf16 pairs (vdpbf16ps and tdpbf16ps) in plain C++, bit for
// bit. With it, tests run the bodies of the dot tile and the AMX tile on any CPU. It is far too slow for
// anything else.
//
//   make_gmm(limits, {.dot = kEmulatedDotTile});   // a grouped GEMM on the emulated dot tile
//
// Intel's manual says of vdpbf16ps: a lane adds the two products of its pair to its sum one after the other,
// the upper half first. Each addition is a fused multiply-add in f32, rounded to nearest even. Denormal
// operands count as zero and a denormal sum becomes zero, whatever rounding mode the process has.
#pragma once

#include <bit>
#include <cmath>
#include <cstdlib>
#include <cstring>

#include "moehill/kernels/amx_tile-inl.h"
#include "moehill/kernels/dot_tile-inl.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

inline float without_denormal(float value) {
  return std::fpclassify(value) == FP_SUBNORMAL ? std::copysign(0.0f, value) : value;
}

inline float emulated_multiply_add(uint32_t a_bits, uint32_t b_bits, float sum) {
  const float a = without_denormal(std::bit_cast<float>(a_bits));
  const float b = without_denormal(std::bit_cast<float>(b_bits));
  return without_denormal(std::fma(a, b, sum));
}

// Computes one lane of vdpbf16ps.
inline float emulated_dot(float sum, uint32_t a, uint32_t b) {
  constexpr uint32_t kUpper = 0xffff0000u;
  sum = emulated_multiply_add(a & kUpper, b & kUpper, without_denormal(sum));
  return emulated_multiply_add(a << 16, b << 16, sum);
}

// Intel's manual says of vcvtneps2bf16: round to nearest even, take denormals as zero, make a NaN quiet.
inline uint16_t emulated_bf16(float value) { return to_bf16(without_denormal(value)).bits; }

// EmulatedDotOps are the operations that dot_tile-inl.h asks for, on arrays. They are calls, since the tile
// unrolls its loops and would hold hundreds of copies of each, which takes the compiler long.
struct EmulatedDotOps {
  struct Sums {
    float lane[16];
  };
  struct Words {
    uint32_t lane[16];
  };
  [[gnu::noinline]] static Sums zero() { return {}; }
  [[gnu::noinline]] static Sums load_sums(const float* p) { return copied<Sums>(p); }
  [[gnu::noinline]] static Words load_words(const uint32_t* p) { return copied<Words>(p); }
  [[gnu::noinline]] static void store_sums(float* p, const Sums& v) {
    for (int i = 0; i < 16; ++i) p[i] = v.lane[i];
  }
  [[gnu::noinline]] static void store_words(uint32_t* p, const Words& v) {
    for (int i = 0; i < 16; ++i) p[i] = v.lane[i];
  }
  [[gnu::noinline]] static Words rounded(const Sums& low, const Sums& high, float scale) {
    Words v;
    for (int i = 0; i < 16; ++i)
      v.lane[i] = emulated_bf16(low.lane[i] * scale) | uint32_t{emulated_bf16(high.lane[i] * scale)} << 16;
    return v;
  }
  [[gnu::noinline]] static Words broadcast(uint32_t word) {
    Words v;
    for (uint32_t& lane : v.lane) lane = word;
    return v;
  }
  [[gnu::noinline]] static Words broadcast_two(const uint32_t* words) {
    Words v;
    for (int i = 0; i < 16; ++i) v.lane[i] = words[i % 2];
    return v;
  }
  [[gnu::noinline]] static Sums dot(Sums sums, const Words& a, const Words& b) {
    for (int i = 0; i < 16; ++i) sums.lane[i] = emulated_dot(sums.lane[i], a.lane[i], b.lane[i]);
    return sums;
  }

 private:
  template <class V, typename T>
  static V copied(const T* p) {
    V v;
    for (int i = 0; i < 16; ++i) v.lane[i] = p[i];
    return v;
  }
};

inline constexpr const DotTile* kEmulatedDotTile = &kDotTileOf<EmulatedDotOps>;

// EmulatedTileOps are the operations that amx_tile-inl.h asks for, on arrays. Intel's manual says of
// tdpbf16ps: the products of a row of A with a column of B are summed separately for the lower and the upper
// halves of the pairs. Both sums begin at zero and go in the order of the steps, by fused multiply-adds as in
// vdpbf16ps. Then the two sums are added to each other, and the result to C. After each operation denormals
// become zero.
struct EmulatedTileOps {
  struct Tile {
    uint32_t word[16][16];
  };
  static inline thread_local Tile tile[8];
  static inline thread_local int num_steps = 0;

  // Ends the program if the CPU would refuse this configuration.
  static void begin(int steps) {
    if (steps < 1 || steps > 16) std::abort();
    num_steps = steps;
  }
  static void end() { num_steps = 0; }
  template <int kTile>
  static void zero() {
    tile[kTile] = {};
  }
  template <int kTile>
  static void load(const void* p) {
    const int rows = kTile >= 6 ? num_steps : 16, words = kTile == 4 || kTile == 5 ? num_steps : 16;
    for (int r = 0; r < rows; ++r)
      std::memcpy(tile[kTile].word[r], static_cast<const char*>(p) + r * 64, 4 * static_cast<size_t>(words));
  }
  template <int kTile>
  static void store(float* p) {
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 16; ++c) p[r * 16 + c] = std::bit_cast<float>(tile[kTile].word[r][c]);
    }
  }
  template <int kC, int kA, int kB>
  static void dot() {
    for (int r = 0; r < 16; ++r) {
      for (int c = 0; c < 16; ++c) {
        float low = 0, high = 0;
        for (int s = 0; s < num_steps; ++s) {
          const uint32_t a = tile[kA].word[r][s], b = tile[kB].word[s][c];
          low = emulated_multiply_add(a << 16, b << 16, low);
          high = emulated_multiply_add(a & 0xffff0000u, b & 0xffff0000u, high);
        }
        uint32_t& sum = tile[kC].word[r][c];
        const float products = without_denormal(low + high);
        sum =
            std::bit_cast<uint32_t>(without_denormal(without_denormal(std::bit_cast<float>(sum)) + products));
      }
    }
  }
};

inline constexpr const AmxTile* kEmulatedAmxTile = &kAmxTileOf<EmulatedTileOps>;

}  // namespace moehill
