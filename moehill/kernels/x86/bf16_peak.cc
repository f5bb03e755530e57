#include <immintrin.h>

#include "moehill/kernels/bf16_peak.h"
#include "moehill/kernels/instructions.h"

namespace moehill {
namespace {

constexpr int kChains = 12;      // cover the latency of two units
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
  return 4.0 * kChains * 16 * static_cast<double>(rounds);  // two products and two sums a lane
}

// Eight tiles of 16 rows of 64 bytes.
struct alignas(64) TileConfig {
  uint8_t palette = 1, start_row = 0, reserved[14] = {};
  uint16_t row_bytes[16] = {64, 64, 64, 64, 64, 64, 64, 64};
  uint8_t rows[16] = {16, 16, 16, 16, 16, 16, 16, 16};
};
static_assert(sizeof(TileConfig) == 64);

// Four independent sums of 2 x 2 tiles. Written for AMX and not yet run on it.
__attribute__((target("amx-tile,amx-bf16"))) double tile_rounds(int64_t rounds) {
  const TileConfig config;
  _tile_loadconfig(&config);
  _tile_zero(0);
  _tile_zero(1);
  _tile_zero(2);
  _tile_zero(3);
  _tile_zero(4);
  _tile_zero(5);
  _tile_zero(6);
  _tile_zero(7);
  for (int64_t r = 0; r < rounds; ++r) {
    _tile_dpbf16ps(0, 4, 6);
    _tile_dpbf16ps(1, 4, 7);
    _tile_dpbf16ps(2, 5, 6);
    _tile_dpbf16ps(3, 5, 7);
  }
  _tile_release();
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
