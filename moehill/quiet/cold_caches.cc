#include "moehill/quiet/cold_caches.h"

#include <algorithm>
#include <numeric>

#include "moehill/machine/pinning.h"

namespace moehill {

// Returns three times the size of the caches: caches do not replace strictly by age, so a single pass leaves
// some older data.
int64_t cold_cache_bytes(const Topology& topology) {
  const int64_t bytes = topology.num_cores * topology.l2_bytes + topology.num_l3 * topology.l3_bytes;
  return 3 * std::max<int64_t>(bytes, 1 << 20);
}

ColdMemory::ColdMemory(int64_t bytes, ThreadTeam& placer) : memory_(static_cast<size_t>(bytes)) {
  uint64_t* words = static_cast<uint64_t*>(memory_.data());
  placer.parallel_for(
      bytes / 8, [&](int64_t begin, int64_t end) { std::fill(words + begin, words + end, uint64_t{1}); });
}

void ColdMemory::read(ThreadTeam& team, int part, int num_parts) {
  const uint64_t* words = static_cast<const uint64_t*>(memory_.data());
  const Range range = share(static_cast<int64_t>(memory_.bytes() / 8), part, num_parts);
  team.parallel_for(range.size(), [&](int64_t begin, int64_t end) {
    sum_ += std::accumulate(words + range.begin + begin, words + range.begin + end, uint64_t{0});
  });
}

ColdCores::ColdCores(const Topology& topology)
    : team_(topology.num_cores, topology.core_cpus), caches_(cold_cache_bytes(topology), team_) {}

void ColdCores::operator()() {
  const PinScope pinned(team_.cpus().front());
  caches_();
}

}  // namespace moehill
