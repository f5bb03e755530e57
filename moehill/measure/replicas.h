// Some results end up on every device. The check looks at the first device's copy only, so the other copies
// have to equal it. This file compares them, by hash.
#pragma once

#include <algorithm>
#include <string>
#include <vector>

#include "moehill/api/measuring.h"
#include "moehill/mesh/job.h"

namespace moehill {

inline constexpr const char* kReplicasDiffer = "a device's copy of a result differs from the first device's";

inline constexpr const char* kCopiesDiffer = "copies of an expert ended with different gradients";

// True on every process if the copy of any device differs. Collective over the job.
inline bool replicas_differ(Run& run, const Job& job) {
  const std::vector<uint64_t> hashes = run.replica_hashes();
  const std::string first = job.from_root(hashes.empty() ? "" : std::to_string(hashes.front()));
  const bool differ =
      std::any_of(hashes.begin(), hashes.end(), [&](uint64_t hash) { return std::to_string(hash) != first; });
  return job.largest(differ ? 1 : 0) > 0;
}

}  // namespace moehill
