// The yardsticks: what the cores of a team can do at best, measured in this process.
#pragma once

#include "moehill/machine/thread_team.h"

namespace moehill {

// FLOP/s of independent f32 fused multiply-adds in registers, all threads at once (two FLOPs each), for a few
// milliseconds.
double measure_fma_peak(ThreadTeam& team);

// B/s of reading 256 MiB once, shared by the threads (the memory is allocated, placed by the threads and
// freed here).
double measure_read_bandwidth(ThreadTeam& team);

}  // namespace moehill
