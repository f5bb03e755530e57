// Control groups: the directories whose limits hold for this process.
#pragma once

#include <filesystem>
#include <functional>
#include <string>

namespace moehill {

// The text of /proc/self/cgroup.
std::string own_cgroups();

enum class CgroupVersion { one, two };

// Calls visit(version, directory) for the group of `controller` ("memory", "cpu") that `proc_cgroup`, a text
// like that of /proc/self/cgroup, names, and for its parents: each of them limits the process. In a container
// the named path is often outside what is mounted; its missing files limit nothing and the mount itself is
// the group. `mount`: /sys/fs/cgroup.
void visit_cgroups(const std::string& proc_cgroup, const std::filesystem::path& mount,
                   const std::string& controller,
                   const std::function<void(CgroupVersion, const std::filesystem::path&)>& visit);

// The CPUs' worth of time that the tightest cpu quota leaves; infinity without one.
double cgroup_cpus(const std::string& proc_cgroup, const std::filesystem::path& mount);

}  // namespace moehill
