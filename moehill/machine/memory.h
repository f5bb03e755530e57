// Memory: how much this process may still take, and how much it has and had.
#pragma once

#include <cstdint>
#include <string>

namespace moehill {

// Bytes that can be had without swapping: MemAvailable, or what the memory cgroups (v1 or v2) leave,
// whichever is smaller.
int64_t available_memory_bytes();

// Bytes left below the tightest limit of the memory cgroup that `proc_cgroup` (the text of /proc/self/cgroup)
// names and of its parents, INT64_MAX without a limit. File cache that the kernel can drop counts as left.
// `mount`: /sys/fs/cgroup.
int64_t cgroup_headroom_bytes(const std::string& proc_cgroup, const std::string& mount);

// Bytes that this process may still take below the limits of its address space and data (ulimit -v, -d),
// INT64_MAX without a limit.
int64_t process_headroom_bytes();

// True if the system would give this process so many bytes now.
bool has_room(int64_t bytes);

// Resident bytes of this process: now, and at most since its start or the last reset. 0 where the system does
// not say.
int64_t current_rss_bytes();
int64_t peak_rss_bytes();

// Starts a new peak at the current size. Returns whether the system let us.
bool reset_peak_rss();

}  // namespace moehill
