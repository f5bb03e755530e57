// This header reads the control groups of Linux (cgroups, versions 1 and 2): it finds the directories whose
// limits hold for this process, its quota of CPU time, and how often that quota stopped it. Limits of memory
// are in machine/memory.h.
//
//   const double cpus = cgroup_cpus(own_cgroups(), "/sys/fs/cgroup");   // 2.5, or infinity
//   throttling(own_cgroups(), "/sys/fs/cgroup").num;                    // 0 until a quota is used up
#pragma once

#include <cstdint>
#include <filesystem>
#include <functional>
#include <string>

namespace moehill {

// Returns the text of /proc/self/cgroup, which names the groups of this process.
std::string own_cgroups();

// CgroupVersion is the version of control groups; the files of a limit have other names in each.
enum class CgroupVersion { one, two };

// Calls visit(version, directory) for the group that limits `controller` ("memory" or "cpu"), and for all its
// parents, because each of them limits the process. `proc_cgroup` is a text like that of /proc/self/cgroup;
// `mount` is /sys/fs/cgroup. In a container, the path in that text is often not mounted: its files are
// missing, which counts as no limit, and the mount itself is the group of the container.
void visit_cgroups(const std::string& proc_cgroup, const std::filesystem::path& mount,
                   const std::string& controller,
                   const std::function<void(CgroupVersion, const std::filesystem::path&)>& visit);

// Returns how many CPUs' worth of time the tightest quota allows, or infinity if there is no quota.
double cgroup_cpus(const std::string& proc_cgroup, const std::filesystem::path& mount);

// Throttling counts the periods in which a quota was used up, so that the group had to wait, and the seconds
// of waiting, summed over the CPUs.
struct Throttling {
  int64_t num = 0;
  double seconds = 0;
};

// Returns the counts of the group of this process and of all its parents since these were made, added up. A
// parent that waits stops the process too.
Throttling throttling(const std::string& proc_cgroup, const std::filesystem::path& mount);

// Returns the number after `key` in a file of lines "key value", or `missing` if the key is not there.
int64_t number_after(const std::string& key, const std::filesystem::path& file, int64_t missing);

}  // namespace moehill
