// The yardsticks: what the cores of a team can do at best, measured in this process.
#pragma once

#include <cstdint>

#include "moehill/machine/thread_team.h"

namespace moehill {

// FLOP/s of independent f32 fused multiply-adds in registers, all threads at once (two FLOPs each), for a few
// milliseconds.
double measure_fma_peak(ThreadTeam& team);
// The better of two attempts of a millisecond: whether all cores are at hand now.
double measure_fma_burst(ThreadTeam& team);

// The same of the grouped GEMM's register tile with all operands in L1: what its inner loop can do at best.
double measure_tile_peak(ThreadTeam& team);

// B/s of reading 256 MiB once, shared by the threads (the memory is allocated, placed by the threads and
// freed here). With an `owner` its threads place the memory instead: on their NUMA node.
double measure_read_bandwidth(ThreadTeam& team, ThreadTeam& owner);
inline double measure_read_bandwidth(ThreadTeam& team) { return measure_read_bandwidth(team, team); }

// B/s of copying kCopyBytes from one place to another with stores that pass by the caches, shared by the
// threads, the best of three times; bytes read and bytes written both count. The memory, 2 kCopyBytes, is
// allocated, placed by the threads, or by those of an `owner`, and freed here.
inline constexpr int64_t kCopyBytes = int64_t{128} << 20;
double measure_copy_bandwidth(ThreadTeam& team, ThreadTeam& owner);
inline double measure_copy_bandwidth(ThreadTeam& team) { return measure_copy_bandwidth(team, team); }

}  // namespace moehill
