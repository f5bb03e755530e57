// This file has the dot tile by AVX512_BF16. After the target pragma the compiler may use AVX-512 anywhere,
// so only code that runs on a CPU with AVX512_BF16 stands there.
#include "moehill/kernels/dot_tile.h"

#include <immintrin.h>

#include <cstring>

#include "moehill/kernels/instructions.h"

#pragma GCC push_options
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,avx512bf16,prefer-vector-width=512")

#include "moehill/kernels/dot_tile-inl.h"

namespace moehill {
namespace {

// Avx512Ops are the operations that dot_tile-inl.h asks for, by intrinsics.
struct Avx512Ops {
  using Sums = __m512;
  using Words = __m512i;
  static Sums zero() { return _mm512_setzero_ps(); }
  static Sums load_sums(const float* p) { return _mm512_loadu_ps(p); }
  static void store_sums(float* p, Sums v) { _mm512_storeu_ps(p, v); }
  static void store_words(uint32_t* p, Words v) { _mm512_storeu_si512(p, v); }
  static Words load_words(const uint32_t* p) { return _mm512_loadu_si512(p); }
  static Words broadcast(uint32_t word) { return _mm512_set1_epi32(static_cast<int>(word)); }
  static Words broadcast_two(const uint32_t* words) {
    long long both;
    std::memcpy(&both, words, sizeof(both));
    return _mm512_set1_epi64(both);
  }
  static Sums dot(Sums sums, Words a, Words b) {
    return _mm512_dpbf16_ps(sums, reinterpret_cast<__m512bh>(a), reinterpret_cast<__m512bh>(b));
  }
  static Words rounded(Sums low, Sums high, float scale) {
    const __m512 factor = _mm512_set1_ps(scale);
    return reinterpret_cast<Words>(bits_of(low * factor) | bits_of(high * factor) << 16);
  }

 private:
  using Lanes = uint32_t __attribute__((vector_size(64)));
  static Lanes bits_of(Sums v) {
    // The form with a mask is used, because the plain one raises a false warning in GCC 12.
    const auto bits = reinterpret_cast<__m256i>(_mm512_cvtneps_pbh(v));
    return reinterpret_cast<Lanes>(_mm512_maskz_cvtepu16_epi32(0xffff, bits));
  }
};

}  // namespace
}  // namespace moehill

#pragma GCC pop_options

namespace moehill {

const DotTile* avx512_dot_tile() { return instructions().avx512_bf16 ? &kDotTileOf<Avx512Ops> : nullptr; }

}  // namespace moehill
