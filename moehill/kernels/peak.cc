// Yardsticks on the best SIMD target.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/peak.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// After foreach_target:
#include "moehill/kernels/gmm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

inline constexpr int kChains =
    12;  // covers the latency of two FMA units, and leaves registers for the factors

// `rounds` times kChains fused multiply-adds on vectors; returns their number of FLOPs. `out` keeps the
// result alive.
double fma_rounds(int64_t rounds, float* out) {
  const DF d;
  VF chain[kChains];
  for (int i = 0; i < kChains; ++i) chain[i] = hn::Set(d, static_cast<float>(i));
  const VF factor = hn::Set(d, out[0]), term = hn::Set(d, out[1]);
  for (int64_t r = 0; r < rounds; ++r) {
#pragma GCC unroll 12
    for (int i = 0; i < kChains; ++i) chain[i] = hn::MulAdd(chain[i], factor, term);
  }
  for (int i = 1; i < kChains; ++i) chain[0] = hn::Add(chain[0], chain[i]);
  out[2] = hn::GetLane(chain[0]);
  return 2.0 * kChains * kLanes * static_cast<double>(rounds);
}

float sum_floats(const float* p, int64_t n) {
  const DF d;
  VF sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (int64_t i = 0; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sum[j] = hn::Add(sum[j], hn::LoadU(d, p + i + j * kLanes));
  }
  return hn::GetLane(hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])));
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <atomic>
#include <vector>

#include "moehill/kernels/peak.h"
#include "moehill/machine/clock.h"

namespace moehill {

HWY_EXPORT(fma_rounds);
HWY_EXPORT(sum_floats);

double measure_fma_peak(ThreadTeam& team) {
  constexpr int64_t kRounds = 1'000'000;  // about 4 ms on a 3 GHz core with two FMA units
  double best = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    std::vector<double> flops(static_cast<size_t>(team.size()));
    const double begin = seconds();
    team.run([&](int i) {
      float values[3] = {0.5f, 1.0f, 0};
      flops[static_cast<size_t>(i)] = HWY_DYNAMIC_DISPATCH(fma_rounds)(kRounds, values);
    });
    const double elapsed = seconds() - begin;
    double total = 0;
    for (double f : flops) total += f;
    best = std::max(best, total / elapsed);
  }
  return best;
}

double measure_read_bandwidth(ThreadTeam& team) {
  constexpr int64_t kFloats = int64_t{64} << 20;
  const Buffer memory(kFloats * sizeof(float));
  float* data = static_cast<float*>(memory.data());
  team.parallel_for(kFloats, [&](int64_t begin, int64_t end) { std::fill(data + begin, data + end, 1.0f); });
  std::atomic<float> sink{0};
  const double begin_time = seconds();
  team.parallel_for(kFloats, [&](int64_t begin, int64_t end) {
    sink.store(HWY_DYNAMIC_DISPATCH(sum_floats)(data + begin, end - begin), std::memory_order_relaxed);
  });
  return static_cast<double>(memory.bytes()) / (seconds() - begin_time);
}

}  // namespace moehill
#endif
