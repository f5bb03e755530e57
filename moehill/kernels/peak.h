// This header measures peaks: the highest rates that the cores of a team reach. The harness shows the rates
// of the kernels as shares of them. Peaks are measured in this process, because data sheets do not give the
// clock of a shared machine.
//
//   const double flops = measure_fma_peak(team);         // FLOP/s of f32
//   const double bytes = measure_copy_bandwidth(team);   // B/s
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/tensor/buffer.h"
#include "moehill/tensor/dtype.h"

namespace moehill {

// Burst is the work that a team did between two times, in seconds of this process's clock (machine/clock.h).
// amount is in FLOPs or bytes.
struct Burst {
  double amount = 0, begin = 0, end = 0;
  double rate() const { return amount / (end - begin); }
};

// PeakKernel is a loop of one instruction on registers, without memory.
struct PeakKernel {
  const char* instruction;  // "avx512f fma", "avx512_bf16 vdpbf16ps"
  DType dtype;              // type of the factors; sums are f32. The loop of f32 is a yardstick for bf16 too
  int64_t rounds;           // for one burst, about 4 ms at 3 GHz
  double (*run)(int64_t rounds);  // returns the FLOPs that it did
};

// Returns the loops for which this CPU has instructions, whether the kernels use these or not and whatever
// MOEHILL_SIMD restricts the kernels to. The first one is f32 multiply-adds on the widest vectors.
const std::vector<PeakKernel>& peak_kernels();

// Runs a loop once on all threads at the same time. The caller should run something on the team before, so
// that its threads are awake.
Burst run_burst(ThreadTeam& team, const PeakKernel& kernel);

// Returns the FLOP/s of a loop on all threads at once: the best of three bursts.
double measure_peak(ThreadTeam& team, const PeakKernel& kernel);
inline double measure_fma_peak(ThreadTeam& team) { return measure_peak(team, peak_kernels().front()); }
// Returns the FLOP/s of the better of two bursts of a millisecond. A low value shows that not all cores are
// free now.
double measure_fma_burst(ThreadTeam& team);

// Returns the FLOP/s of the grouped GEMM's register tile with all operands in L1: the most that its inner
// loop can do.
double measure_tile_peak(ThreadTeam& team);

// ReadMemory is memory that the threads of a team read again and again, each its share.
class ReadMemory {
 public:
  // The threads of `owner` write the memory first, so that it lies on their memory node.
  ReadMemory(ThreadTeam& owner, int64_t bytes);
  // Reads all of the memory once.
  Burst read(ThreadTeam& team) const;

 private:
  Buffer memory_;
};

// Returns the number of bytes that no cache can hold: four times the L3 caches, but at least 64 MiB; 256 MiB
// if the system does not say how large the caches are (`l3_bytes` is 0). More would only take time to place.
int64_t read_memory_bytes(int64_t l3_bytes);

// Returns the bytes per second at which the threads together copy kCopyBytes with stores that bypass the
// caches; the best of three times. Bytes read and bytes written both count. It allocates and frees 2
// kCopyBytes; the threads of `owner` write them first, which places them on their memory node.
inline constexpr int64_t kCopyBytes = int64_t{128} << 20;
double measure_copy_bandwidth(ThreadTeam& team, ThreadTeam& owner);
inline double measure_copy_bandwidth(ThreadTeam& team) { return measure_copy_bandwidth(team, team); }

}  // namespace moehill
