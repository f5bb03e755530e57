// Collectives timed by size: the measurement behind `moehill mesh` and the probe.
#pragma once

#include <string>
#include <vector>

#include "moehill/collectives/collective_case.h"

namespace moehill {

struct MeshOptions {
  int64_t min_bytes = 8, max_bytes = int64_t{64} << 20, factor = 2;
  int64_t iters = 20, warmup = 5;
  bool check = true;
  bool copies = true;  // the copy beside the collectives, which takes longer than most of them
  // Each device reads so many bytes of other data before each call and then writes the input anew, since the
  // stage before a collective leaves the caches so. `check` does not do it, since signs change. 0: buffers
  // stay where the last call left them.
  int64_t cold_bytes = 0;
  std::vector<Collective> collectives = {Collective::all_reduce};
  DType dtype = DType::f32;
  int64_t devices = 0, threads_per_device = 0;  // 0: from the cores
  MeshKind mesh = MeshKind::automatic;          // resolved by adopt_job()
  double timeout_s = 0;                         // of waits for other processes; 0: by the largest size
  std::string json;
};

// Elements of each size from the smallest to the largest; a size that is no multiple of an element is rounded
// down.
std::vector<int64_t> element_counts(const MeshOptions& options);

}  // namespace moehill
