// Implements machine/memory.h from /proc and the control groups of Linux. A file that is missing never gives
// an error: it counts as no limit.
#include "moehill/machine/memory.h"

#include <sys/mman.h>
#include <sys/resource.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <limits>
#include <string>

#include "moehill/machine/cgroups.h"

namespace moehill {
namespace {

constexpr int64_t kUnlimited = std::numeric_limits<int64_t>::max();

// Returns the number in a file that has only one; `missing` if the file says "max" or does not exist.
int64_t number_in(const std::filesystem::path& file, int64_t missing) {
  std::ifstream in(file);
  int64_t value = 0;
  return in >> value ? value : missing;
}

// CgroupFiles names the files with the limit, the usage and the droppable file cache. The two versions of
// cgroups name them differently.
struct CgroupFiles {
  const char* limit;
  const char* usage;
  const char* reclaimable;
};
constexpr CgroupFiles kVersion1 = {"memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"};
constexpr CgroupFiles kVersion2 = {"memory.max", "memory.current", "inactive_file"};

// Returns the bytes that one group leaves. File cache that the kernel can drop at once counts as free.
int64_t headroom_in(const std::filesystem::path& directory, const CgroupFiles& files) {
  const int64_t limit = number_in(directory / files.limit, kUnlimited);
  // Version 1 writes "no limit" as the largest multiple of a page.
  if (limit >= int64_t{1} << 62) return kUnlimited;
  const int64_t usage = number_in(directory / files.usage, 0);
  const int64_t reclaimable = number_after(files.reclaimable, directory / "memory.stat", 0);
  return std::max<int64_t>(0, limit - std::max<int64_t>(0, usage - reclaimable));
}

}  // namespace

int64_t cgroup_headroom_bytes(const std::string& proc_cgroup, const std::string& mount) {
  int64_t least = kUnlimited;
  visit_cgroups(
      proc_cgroup, mount, "memory", [&](CgroupVersion version, const std::filesystem::path& directory) {
        least =
            std::min(least, headroom_in(directory, version == CgroupVersion::two ? kVersion2 : kVersion1));
      });
  return least;
}

int64_t available_memory_bytes() {
  // Both limits hold: the memory of the whole machine, and the limit of this process's group.
  const int64_t available_kib = number_after("MemAvailable:", "/proc/meminfo", kUnlimited / 1024);
  return std::min(available_kib * 1024, cgroup_headroom_bytes(own_cgroups(), "/sys/fs/cgroup"));
}

int64_t process_headroom_bytes() {
  const auto headroom = [](int resource, const char* used) {
    rlimit limit{};
    // RLIM_INFINITY is the largest rlim_t. A limit that no int64_t holds is as good as none.
    if (getrlimit(resource, &limit) != 0 || limit.rlim_cur > rlim_t{kUnlimited}) return kUnlimited;
    return std::max<int64_t>(
        0, static_cast<int64_t>(limit.rlim_cur) - 1024 * number_after(used, "/proc/self/status", 0));
  };
  return std::min(headroom(RLIMIT_AS, "VmSize:"), headroom(RLIMIT_DATA, "VmData:"));
}

bool has_room(int64_t bytes) {
  // This maps with MAP_NORESERVE and unmaps at once. The question is only whether the limits allow it, and no
  // page is ever touched.
  void* const room = mmap(nullptr, static_cast<size_t>(bytes), PROT_READ | PROT_WRITE,
                          MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
  if (room == MAP_FAILED) return false;
  munmap(room, static_cast<size_t>(bytes));
  return true;
}

int64_t current_rss_bytes() { return number_after("VmRSS:", "/proc/self/status", 0) * 1024; }

int64_t peak_rss_bytes() { return number_after("VmHWM:", "/proc/self/status", 0) * 1024; }

bool reset_peak_rss() {
  std::ofstream out("/proc/self/clear_refs");
  out << "5" << std::flush;
  return out.good();
}

}  // namespace moehill
