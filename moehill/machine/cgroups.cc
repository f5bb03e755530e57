// Implements machine/cgroups.h. A file that is missing never gives an error: it counts as no limit, and as no
// wait.
#include "moehill/machine/cgroups.h"

#include <algorithm>
#include <fstream>
#include <limits>
#include <sstream>

namespace moehill {
namespace {

constexpr double kNoQuota = std::numeric_limits<double>::infinity();

bool lists(const std::string& controllers, const std::string& controller) {
  return ("," + controllers + ",").find("," + controller + ",") != std::string::npos;
}

double number_in(const std::filesystem::path& file) {
  std::ifstream in(file);
  double value = 0;
  return in >> value ? value : -1;
}

// Returns the CPUs' worth of time that the quota of one group allows: quota / period. Version 2 writes
// "200000 100000" (microseconds) or "max 100000" into one file. Version 1 has two files, and -1 means no
// quota.
double cpus_in(CgroupVersion version, const std::filesystem::path& directory) {
  double quota = -1, period = -1;
  if (version == CgroupVersion::two) {
    std::ifstream in(directory / "cpu.max");
    if (!(in >> quota >> period)) return kNoQuota;
  } else {
    quota = number_in(directory / "cpu.cfs_quota_us");
    period = number_in(directory / "cpu.cfs_period_us");
  }
  return quota > 0 && period > 0 ? quota / period : kNoQuota;
}

}  // namespace

std::string own_cgroups() {
  std::ifstream in("/proc/self/cgroup");
  std::ostringstream text;
  text << in.rdbuf();
  return text.str();
}

// Each line of `proc_cgroup` is "hierarchy:controllers:path". The line of version 2 has hierarchy 0 and no
// controllers.
void visit_cgroups(const std::string& proc_cgroup, const std::filesystem::path& mount,
                   const std::string& controller,
                   const std::function<void(CgroupVersion, const std::filesystem::path&)>& visit) {
  std::istringstream lines(proc_cgroup);
  for (std::string hierarchy, controllers, group; std::getline(lines, hierarchy, ':') &&
                                                  std::getline(lines, controllers, ':') &&
                                                  std::getline(lines, group);) {
    const bool is_second = hierarchy == "0" && controllers.empty();
    if (!is_second && !lists(controllers, controller)) continue;
    const CgroupVersion version = is_second ? CgroupVersion::two : CgroupVersion::one;
    std::filesystem::path directory = is_second ? mount : mount / controller;
    visit(version, directory);
    for (const auto& part : std::filesystem::path(group).relative_path()) {
      directory /= part;
      visit(version, directory);
    }
  }
}

double cgroup_cpus(const std::string& proc_cgroup, const std::filesystem::path& mount) {
  double least = kNoQuota;
  visit_cgroups(proc_cgroup, mount, "cpu",
                [&](CgroupVersion version, const std::filesystem::path& directory) {
                  least = std::min(least, cpus_in(version, directory));
                });
  return least;
}

// Both versions have the counts in cpu.stat. Version 2 gives the time in microseconds, version 1 in
// nanoseconds under another name.
Throttling throttling(const std::string& proc_cgroup, const std::filesystem::path& mount) {
  Throttling all;
  visit_cgroups(proc_cgroup, mount, "cpu",
                [&](CgroupVersion version, const std::filesystem::path& directory) {
                  const std::filesystem::path file = directory / "cpu.stat";
                  const bool second = version == CgroupVersion::two;
                  const int64_t time = number_after(second ? "throttled_usec" : "throttled_time", file, 0);
                  all.num += number_after("nr_throttled", file, 0);
                  all.seconds += static_cast<double>(time) * (second ? 1e-6 : 1e-9);
                });
  return all;
}

int64_t number_after(const std::string& key, const std::filesystem::path& file, int64_t missing) {
  std::ifstream in(file);
  std::string word, rest;
  int64_t value = 0;
  while (in >> word) {
    if (word == key && in >> value) return value;
    in.clear();
    std::getline(in, rest);
  }
  return missing;
}

}  // namespace moehill
