// No lie: the kit does without long yardsticks, so that it can afford hundreds of commands. Three quarters of
// the time of a command on a small problem go into the peaks, the read bandwidth and the emptying of the
// caches, and none of them decides whether a result is right. (Figures that are impossible by a yardstick are
// refused, too; the tests of the command line hold that.)
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
