// The yardsticks: what the cores of a team can do at best, measured in this process.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// A burst is the work of a team's threads between two times of this process's clock, in FLOPs or bytes.
struct Burst {
  double amount = 0, begin = 0, end = 0;
  double rate() const { return amount / (end - begin); }
};

// A loop of one instruction on registers.
struct PeakKernel {
  const char* instruction;  // "avx512f fma", "avx512_bf16 vdpbf16ps"
  DType dtype;              // of the factors. Sums are f32, and f32's loops are a yardstick for bf16 too
  int64_t rounds;           // of a burst: about 4 ms at 3 GHz
  double (*run)(int64_t rounds);  // returns its FLOPs
};

// The loops that this CPU has instructions for, whether our kernels use these or not and whatever
// MOEHILL_SIMD holds the kernels to. The first is f32 multiply-adds on the widest vectors.
const std::vector<PeakKernel>& peak_kernels();

// All threads at once; one waking call beforehand is the caller's.
Burst run_burst(ThreadTeam& team, const PeakKernel& kernel);

// FLOP/s of a loop on all threads at once: the best of three bursts.
double measure_peak(ThreadTeam& team, const PeakKernel& kernel);
inline double measure_fma_peak(ThreadTeam& team) { return measure_peak(team, peak_kernels().front()); }
// The better of two short ones of a millisecond: whether all cores are at hand now.
double measure_fma_burst(ThreadTeam& team);

// Measures the grouped GEMM's register tile with all operands in L1: what its inner loop can do at best.
double measure_tile_peak(ThreadTeam& team);

// Memory to be read again and again by the threads of a team, each its share.
class ReadMemory {
 public:
  // The threads of `owner` place the memory: on their NUMA node.
  ReadMemory(ThreadTeam& owner, int64_t bytes);
  // Reads all of it once.
  Burst read(ThreadTeam& team) const;

 private:
  Buffer memory_;
};

// Bytes that no cache holds: four times the L3 caches, 256 MiB at least.
int64_t read_memory_bytes(int64_t l3_bytes);

// B/s of copying kCopyBytes from one place to another with stores that pass by the caches, shared by the
// threads, the best of three times; bytes read and bytes written both count. The memory, 2 kCopyBytes, is
// allocated, placed by the threads, or by those of an `owner`, and freed here.
inline constexpr int64_t kCopyBytes = int64_t{128} << 20;
double measure_copy_bandwidth(ThreadTeam& team, ThreadTeam& owner);
inline double measure_copy_bandwidth(ThreadTeam& team) { return measure_copy_bandwidth(team, team); }

}  // namespace moehill
