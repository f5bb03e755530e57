#include "moehill/mesh/copy.h"

#include <cstring>

#include "moehill/machine/past_caches.h"
#include "moehill/mesh/line_share.h"

namespace moehill {
namespace {

// Every thread takes its share of every segment: one segment that is in place already, or much longer than
// the others, leaves nobody idle.
void copy_share(const CopyJob& job, bool past_caches, int64_t i, int64_t num_shares) {
  const int64_t element_bytes = static_cast<int64_t>(job.element_bytes);
  for (size_t r = 0; r < job.sources.size(); ++r) {
    const Range segment{job.offsets[r] * element_bytes, job.offsets[r + 1] * element_bytes};
    const Range part = line_share(segment, i, num_shares, kLineBytes);
    if (part.size() == 0) continue;
    char* const to = static_cast<char*>(job.output) + part.begin;
    const char* const from = static_cast<const char*>(job.sources[r]) + (part.begin - segment.begin);
    if (from == to) continue;
    const size_t bytes = static_cast<size_t>(part.size());
    past_caches ? copy_past_caches(to, from, bytes) : void(std::memcpy(to, from, bytes));
  }
}

}  // namespace

void team_copy(ThreadTeam& team, const CopyJob& job) {
  if (job.offsets.back() == job.offsets.front()) return;
  const int64_t bytes = (job.offsets.back() - job.offsets.front()) * static_cast<int64_t>(job.element_bytes);
  const bool past_caches = 2 * bytes >= kPastCachesBytes;
  team.run([&](int i) { copy_share(job, past_caches, i, team.size()); });
}

}  // namespace moehill
