// The peak measurements run with any number of threads. (The copy itself checks that it has copied
// everything.)
#include "moehill/kernels/peak.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <string>

#include "moehill/kernels/instructions.h"
#include "moehill/kernels/simd.h"

namespace moehill {
namespace {

TEST(Peak, CopyBandwidthIsPositiveForAnyNumberOfThreads) {
  for (const int num_threads : {1, 3}) {
    ThreadTeam team(num_threads);
    const double bandwidth = measure_copy_bandwidth(team);
    EXPECT_GT(bandwidth, 0) << num_threads;
    EXPECT_TRUE(std::isfinite(bandwidth)) << num_threads;
  }
}

TEST(Peak, LoopsAreThoseOfTheInstructionsGranted) {
  std::vector<std::string> names;
  for (const PeakKernel& kernel : peak_kernels()) names.push_back(kernel.instruction);
  const auto has = [&](const char* name) { return std::count(names.begin(), names.end(), name) == 1; };
  EXPECT_EQ(peak_kernels().front().dtype, DType::f32);
  EXPECT_EQ(has("avx512_bf16 vdpbf16ps"), instructions().avx512_bf16);
  EXPECT_EQ(has("amx_bf16 tdpbf16ps"), instructions().amx_bf16);
  EXPECT_EQ(static_cast<int>(names.size()), 1 + instructions().avx512_bf16 + instructions().amx_bf16);
}

TEST(Peak, EveryLoopCountsItsRounds) {
  for (const PeakKernel& kernel : peak_kernels()) {
    const double one = kernel.run(1);
    EXPECT_GT(one, 0) << kernel.instruction;
    EXPECT_EQ(kernel.run(1000), 1000 * one) << kernel.instruction;
  }
}

// The measurement of the peak chooses its own target. Another target for the kernels does not change it.
TEST(Peak, HoldingTheKernelsToATargetLeavesTheYardstick) {
  const double flops = peak_kernels().front().run(1);
  const int64_t all = cpu_simd_targets();
  select_simd_target("scalar");
  EXPECT_EQ(peak_kernels().front().run(1), flops);
  EXPECT_EQ(cpu_simd_targets(), all);
  select_simd_target("");
}

TEST(Peak, ABurstIsTheWorkOfAllThreads) {
  ThreadTeam team(3);
  PeakKernel kernel = peak_kernels().back();
  kernel.rounds = 1000;
  const Burst burst = run_burst(team, kernel);
  EXPECT_EQ(burst.amount, 3 * kernel.run(1000));
  EXPECT_GT(burst.end, burst.begin);
}

TEST(Peak, MemoryToReadIsBeyondTheCaches) {
  EXPECT_EQ(read_memory_bytes(0), int64_t{256} << 20);
  EXPECT_EQ(read_memory_bytes(int64_t{4} << 20), int64_t{64} << 20);
  EXPECT_EQ(read_memory_bytes(int64_t{32} << 20), int64_t{128} << 20);
  EXPECT_EQ(read_memory_bytes(int64_t{1152} << 20), int64_t{4608} << 20);
}

TEST(Peak, MemoryMayBePlacedByOtherThreads) {
  ThreadTeam team(2), owner(3);
  const Burst burst = ReadMemory(owner, 1 << 20).read(team);
  EXPECT_EQ(burst.amount, 1 << 20);
  EXPECT_GT(burst.end, burst.begin);
  EXPECT_GT(measure_copy_bandwidth(team, owner), 0);
}

TEST(Peak, TileRateIsPositiveForAnyNumberOfThreads) {
  for (const int num_threads : {1, 3}) {
    ThreadTeam team(num_threads);
    const double rate = measure_tile_peak(team);
    EXPECT_GT(rate, 0) << num_threads;
    EXPECT_TRUE(std::isfinite(rate)) << num_threads;
  }
}

}  // namespace
}  // namespace moehill
