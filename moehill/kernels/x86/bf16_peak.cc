#include <immintrin.h>

#include "moehill/kernels/bf16_peak.h"
#include "moehill/kernels/instructions.h"
#include "moehill/kernels/x86/amx_registers.h"

namespace moehill {
namespace {

// This file has the loops for the bf16 instructions of x86. They use registers only.
constexpr int kChains = 12;      // enough chains to hide the latency of two units
constexpr short kHalf = 0x3f00;  // 0.5 as bf16

__attribute__((target("avx512f,avx512bf16"))) double dot_rounds(int64_t rounds) {
  __m512 chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = _mm512_set1_ps(static_cast<float>(i));
  const __m512bh factor = reinterpret_cast<__m512bh>(_mm512_set1_epi16(kHalf));
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chain[i] = _mm512_dpbf16_ps(chain[i], factor, factor);
  }
  for (int i = 1; i < kChains; ++i) chain[0] = _mm512_add_ps(chain[0], chain[i]);
  volatile float keeps_the_work = _mm512_cvtss_f32(chain[0]);
  static_cast<void>(keeps_the_work);
  return 4.0 * kChains * 16 * static_cast<double>(rounds);  // two products and two sums for each lane
}

// Adds products to four tiles of sums in turn, so that no product waits for the one before it.
double tile_rounds(int64_t rounds) {
  TileOps::begin(16);
  TileOps::zero<0>();
  TileOps::zero<1>();
  TileOps::zero<2>();
  TileOps::zero<3>();
  TileOps::zero<4>();
  TileOps::zero<5>();
  TileOps::zero<6>();
  TileOps::zero<7>();
  for (int64_t r = 0; r < rounds; ++r) {
    TileOps::dot<0, 4, 6>();
    TileOps::dot<1, 4, 7>();
    TileOps::dot<2, 5, 6>();
    TileOps::dot<3, 5, 7>();
  }
  TileOps::end();
  return 4 * 2.0 * 16 * 16 * 32 * static_cast<double>(rounds);
}

}  // namespace

std::vector<PeakKernel> bf16_peak_kernels() {
  std::vector<PeakKernel> kernels;
  if (instructions().avx512_bf16)
    kernels.push_back({"avx512_bf16 vdpbf16ps", DType::bf16, 1'000'000, dot_rounds});
  if (instructions().amx_bf16) kernels.push_back({"amx_bf16 tdpbf16ps", DType::bf16, 150'000, tile_rounds});
  return kernels;
}

}  // namespace moehill
