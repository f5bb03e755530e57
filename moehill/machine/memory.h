// This header says how many bytes this process may still take, and how many it has and had. Callers refuse a
// problem that does not fit before they allocate. It allocates nothing; tensor/buffer.h does.
//
//   if (bytes_needed > available_memory_bytes()) throw input_error(...);
#pragma once

#include <cstdint>
#include <string>

namespace moehill {

// Returns the bytes that the process can get without swapping: the system's MemAvailable, or what the memory
// cgroups (version 1 or 2) leave, whichever is smaller.
int64_t available_memory_bytes();

// Returns the bytes left below the tightest limit of a memory cgroup and its parents, or INT64_MAX if there
// is no limit. `proc_cgroup` is the text of /proc/self/cgroup, `mount` is /sys/fs/cgroup. File cache that the
// kernel can drop counts as left.
int64_t cgroup_headroom_bytes(const std::string& proc_cgroup, const std::string& mount);

// Returns the bytes that this process may still take within the limits of its address space and data (ulimit
// -v and -d), or INT64_MAX if there is no limit.
int64_t process_headroom_bytes();

// Returns true if the system would give this process this many bytes of address space now.
bool has_room(int64_t bytes);

// These two return the resident bytes of this process: now, and the most since its start or the last
// reset_peak_rss(). Both return 0 if the system does not say.
int64_t current_rss_bytes();
int64_t peak_rss_bytes();

// Sets the peak to the current size. Returns false if the system refuses.
bool reset_peak_rss();

}  // namespace moehill
