// MeshOptions are the options of a measurement of collectives by size, for `moehill mesh` and for the probe.
//
//     MeshOptions options{.min_bytes = 1024, .max_bytes = 1 << 20, .factor = 4};
//     element_counts(options);   // f32: 256, 1024, 4096, ... 262144
#pragma once

#include <string>
#include <vector>

#include "moehill/collectives/collective_case.h"

namespace moehill {

// MeshOptions has the defaults of `moehill mesh`.
struct MeshOptions {
  int64_t min_bytes = 8, max_bytes = int64_t{64} << 20, factor = 2;
  int64_t iters = 20, warmup = 5;
  bool check = true;
  bool copies = true;  // time the copy as well, which takes longer than most collectives
  // Before each call with an input of 256 KiB or more, each device reads this many bytes of other data and
  // then writes the input anew, because the stage before a collective leaves the caches in this state.
  // `check` has to be off, since signs change. 0: buffers stay where the last call left them.
  int64_t cold_bytes = 0;
  std::vector<Collective> collectives = {Collective::all_reduce};
  DType dtype = DType::f32;
  int64_t devices = 0, threads_per_device = 0;  // 0: from the number of cores
  MeshKind mesh = MeshKind::automatic;          // resolved by adopt_job()
  double timeout_s = 0;                         // for waiting on other processes; 0: by the largest size
  std::string json;
};

// Returns the elements of each size, from the smallest to the largest. A size that is no multiple of an
// element is rounded down.
std::vector<int64_t> element_counts(const MeshOptions& options);

}  // namespace moehill
