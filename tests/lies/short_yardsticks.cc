// This is no lie: it makes the yardsticks short, so that the kit can afford hundreds of commands. On a small
// problem, three quarters of a command's time go into the peaks, the read bandwidth and the emptying of the
// caches, and none of these decides whether a result is right. (Figures that a yardstick shows to be
// impossible are refused too; the tests of the command line cover that.)
#include "moehill/kernels/peak.h"
#include "moehill/quiet/cold_caches.h"
#include "tests/lies/lie.h"

namespace moehill {

constexpr int64_t kShortMemoryBytes = int64_t{1} << 20;
constexpr int64_t kShorterBurst = 16;

SEAM("_ZN7moehill17read_memory_bytesEl", int64_t, read_memory_bytes, int64_t);
int64_t lying_read_memory_bytes(int64_t) { return kShortMemoryBytes; }

SEAM("_ZN7moehill16cold_cache_bytesERKNS_8TopologyE", int64_t, cold_cache_bytes, const Topology&);
int64_t lying_cold_cache_bytes(const Topology&) { return kShortMemoryBytes; }

SEAM("_ZN7moehill9run_burstERNS_10ThreadTeamERKNS_10PeakKernelE", Burst, run_burst, ThreadTeam&,
     const PeakKernel&);
Burst lying_run_burst(ThreadTeam& team, const PeakKernel& kernel) {
  PeakKernel shorter = kernel;
  shorter.rounds = kernel.rounds / kShorterBurst;
  return real_run_burst(team, shorter);
}

}  // namespace moehill
