// This file measures peaks of computing and of memory, on the best SIMD target that the CPU has, whatever
// target the kernels are restricted to.

#undef HWY_TARGET_INCLUDE
#define HWY_TARGET_INCLUDE "moehill/kernels/peak.cc"
#include <hwy/foreach_target.h>  // first: includes this file once a target
// Everything below is compiled once for each target, so it stands after foreach_target:
#include <hwy/cache_control.h>

#include "moehill/kernels/gmm_model.h"
#include "moehill/kernels/gmm_tile-inl.h"

HWY_BEFORE_NAMESPACE();
namespace moehill {
namespace HWY_NAMESPACE {

inline constexpr int kChains =
    12;  // enough chains to hide the latency of two FMA units, while registers are left for the factors

// Does `rounds` times kChains fused multiply-adds on vectors and returns the number of FLOPs. `out` holds the
// factors and takes a result, so that the compiler cannot remove the loop.
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

// Runs the register tile `rounds` times on one block of depth, with all operands in L1, and returns the
// number of FLOPs. work: the floats of measure_tile_peak(), all zero.
double tile_rounds(int64_t rounds, float* work) {
  constexpr int64_t kSums = kTileRows * kTilePanels * 16, kDepth = kCallDepth / kTilePanels;
  const float* a = work + kSums;
  const float* b = a + kDepth * kTileRows;
  for (int64_t r = 0; r < rounds; ++r)
    tile_rows<Fetch::nothing, float>(
        {kTileRows, kTilePanels, a, b, kDepth * 16, kDepth, work, kTileRows * 16, true});
  return 2.0 * static_cast<double>(kSums * kDepth * rounds);
}

// Returns a sum, only so that the compiler keeps the loads. Four sums take turns, so that an addition need
// not wait for the one before it.
float sum_floats(const float* p, int64_t n) {
  const DF d;
  VF sum[4] = {hn::Zero(d), hn::Zero(d), hn::Zero(d), hn::Zero(d)};
  for (int64_t i = 0; i + 4 * kLanes <= n; i += 4 * kLanes) {
    for (int j = 0; j < 4; ++j) sum[j] = hn::Add(sum[j], hn::LoadU(d, p + i + j * kLanes));
  }
  return hn::GetLane(hn::Add(hn::Add(sum[0], sum[1]), hn::Add(sum[2], sum[3])));
}

// n is a multiple of 16 floats, the widest vector; both places are aligned to 64 bytes.
void stream_copy(const float* HWY_RESTRICT from, float* HWY_RESTRICT to, int64_t n) {
  const DF d;
  for (int64_t i = 0; i < n; i += kLanes) hn::Stream(hn::Load(d, from + i), d, to + i);
  hwy::FlushStream();
}

}  // namespace HWY_NAMESPACE
}  // namespace moehill
HWY_AFTER_NAMESPACE();

#if HWY_ONCE
#include <algorithm>
#include <atomic>
#include <iterator>
#include <memory>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/kernels/bf16_peak.h"
#include "moehill/kernels/peak.h"
#include "moehill/kernels/simd.h"
#include "moehill/machine/clock.h"
#include "moehill/machine/pinning.h"

namespace moehill {

HWY_EXPORT(fma_rounds);
HWY_EXPORT(tile_rounds);
HWY_EXPORT(sum_floats);
HWY_EXPORT(stream_copy);

namespace {

// Runs work(thread) on all threads at once. work() returns the FLOPs or bytes of its thread; the burst has
// their sum and the times.
template <typename Work>
Burst burst_of(ThreadTeam& team, const Work& work) {
  std::vector<double> amounts(static_cast<size_t>(team.size()));
  Burst burst{.begin = seconds()};
  team.run([&](int i) { amounts[static_cast<size_t>(i)] = work(i); });
  burst.end = seconds();
  for (const double amount : amounts) burst.amount += amount;
  return burst;
}

template <typename Measure>
double best_of(int attempts, const Measure& measure) {
  double best = 0;
  for (int i = 0; i < attempts; ++i) best = std::max(best, measure().rate());
  return best;
}

// BestTarget is the best of all targets that this CPU has, by Highway's numbers, not only of the targets to
// which the kernels are restricted.
struct BestTarget {
  BestTarget() {
    const int64_t targets = cpu_simd_targets();
    hwy::ChosenTarget chosen;
    chosen.Update(targets);
    index = std::size(HWY_DISPATCH_TABLE(fma_rounds)) == 1 ? 0 : chosen.GetIndex();
    bit = targets & -targets;
  }
  size_t index;
  int64_t bit;
};

const BestTarget& best_target() {
  static const BestTarget best;
  return best;
}

double run_fma(int64_t rounds) {
  float values[3] = {0.5f, 1.0f, 0};
  return HWY_DISPATCH_TABLE(fma_rounds)[best_target().index](rounds, values);
}

const char* fma_name() {
  switch (best_target().bit) {
    case HWY_AVX3:
      return "avx512f fma";
    case HWY_AVX2:
      return "avx2 fma";
    case HWY_SSE4:
      return "sse4 mul, add";
    default:
      return "f32 fma";
  }
}

// Lets the threads of `owner` write memory first, which places its pages on their memory node. The caller is
// one of these threads, so it is pinned to its CPU meanwhile.
template <typename Body>
void place(ThreadTeam& owner, int64_t n, const Body& body) {
  const auto pinned = owner.cpus().empty() ? nullptr : std::make_unique<PinScope>(owner.cpus().front());
  owner.parallel_for(n, body);
}

}  // namespace

const std::vector<PeakKernel>& peak_kernels() {
  static const std::vector<PeakKernel> kernels = [] {
    std::vector<PeakKernel> all = {{fma_name(), DType::f32, 1'000'000, run_fma}};
    for (const PeakKernel& kernel : bf16_peak_kernels()) all.push_back(kernel);
    return all;
  }();
  return kernels;
}

Burst run_burst(ThreadTeam& team, const PeakKernel& kernel) {
  return burst_of(team, [&](int) { return kernel.run(kernel.rounds); });
}

double measure_peak(ThreadTeam& team, const PeakKernel& kernel) {
  return best_of(3, [&] { return run_burst(team, kernel); });
}

double measure_fma_burst(ThreadTeam& team) {
  // On a virtual machine waking a thread takes up to a fifth of a burst, so this wakes the threads before.
  team.run([](int) {});
  PeakKernel kernel = peak_kernels().front();
  kernel.rounds /= 4;
  return best_of(2, [&] { return run_burst(team, kernel); });
}

double measure_tile_peak(ThreadTeam& team) {
  constexpr int64_t kRounds = 8000;  // about 4 ms with 6 rows
  constexpr int64_t kFloats =
      12 * 32 + kCallDepth * (12 + 16);  // tile, strip and block of the target with the largest tile
  std::vector<Buffer> memory(static_cast<size_t>(team.size()));
  for (Buffer& part : memory) part = Buffer(kFloats * sizeof(float));
  return best_of(3, [&] {
    return burst_of(team, [&](int i) {
      float* work = static_cast<float*>(memory[static_cast<size_t>(i)].data());
      return HWY_DYNAMIC_DISPATCH(tile_rounds)(kRounds, work);
    });
  });
}

int64_t read_memory_bytes(int64_t l3_bytes) {
  constexpr int64_t kLeast = int64_t{64} << 20, kOfUnknownCaches = int64_t{256} << 20;
  return l3_bytes > 0 ? std::max(kLeast, 4 * l3_bytes) : kOfUnknownCaches;
}

ReadMemory::ReadMemory(ThreadTeam& owner, int64_t bytes) : memory_(static_cast<size_t>(bytes)) {
  float* data = static_cast<float*>(memory_.data());
  place(owner, bytes / int64_t{sizeof(float)},
        [&](int64_t begin, int64_t end) { std::fill(data + begin, data + end, 1.0f); });
}

Burst ReadMemory::read(ThreadTeam& team) const {
  const float* data = static_cast<const float*>(memory_.data());
  std::atomic<float> sink{0};
  Burst burst{.amount = static_cast<double>(memory_.bytes()), .begin = seconds()};
  team.parallel_for(static_cast<int64_t>(memory_.bytes() / sizeof(float)), [&](int64_t begin, int64_t end) {
    sink.store(HWY_DISPATCH_TABLE(sum_floats)[best_target().index](data + begin, end - begin),
               std::memory_order_relaxed);
  });
  burst.end = seconds();
  return burst;
}

double measure_copy_bandwidth(ThreadTeam& team, ThreadTeam& owner) {
  constexpr int64_t kLine = 16, kLines = kCopyBytes / 64;  // floats of a cache line, lines
  const Buffer source(kCopyBytes), target(kCopyBytes);
  float *from = static_cast<float*>(source.data()), *to = static_cast<float*>(target.data());
  place(owner, kLines, [&](int64_t begin, int64_t end) {
    std::fill(from + begin * kLine, from + end * kLine, 1.0f);
    std::fill(to + begin * kLine, to + end * kLine, 0.0f);
  });
  double best = 0;
  for (int attempt = 0; attempt < 3; ++attempt) {
    const double begin_time = seconds();
    team.parallel_for(kLines, [&](int64_t begin, int64_t end) {
      HWY_DISPATCH_TABLE(stream_copy)
      [best_target().index](from + begin * kLine, to + begin * kLine, (end - begin) * kLine);
    });
    best = std::max(best, 2.0 * kCopyBytes / (seconds() - begin_time));
  }
  MOEHILL_CHECK(std::equal(from, from + kCopyBytes / 4, to), "the copy differs from its source");
  return best;
}

}  // namespace moehill
#endif
