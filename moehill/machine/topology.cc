// Implements machine/topology.h: hwloc reads the hardware, /proc and sched_setaffinity() give and set the
// CPUs that are allowed.
#include "moehill/machine/topology.h"

#include <hwloc.h>
#include <sched.h>
#include <unistd.h>

#include <algorithm>
#include <cmath>
#include <cstdlib>
#include <filesystem>
#include <fstream>
#include <memory>
#include <stdexcept>
#include <string>
#include <string_view>
#include <type_traits>

#include "moehill/base/parse.h"
#include "moehill/machine/cgroups.h"
#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

using HwlocTopology =
    std::unique_ptr<std::remove_pointer_t<hwloc_topology_t>, decltype(&hwloc_topology_destroy)>;

HwlocTopology make() {
  hwloc_topology_t topology = nullptr;
  if (hwloc_topology_init(&topology) != 0) throw std::runtime_error("hwloc cannot make a topology");
  return {topology, &hwloc_topology_destroy};
}

// Loads only the CPUs that this process may use: hwloc respects the cpuset by default, and the flag
// HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING adds the affinity mask.
HwlocTopology load(unsigned long flags) {
  // hwloc loads its plugins with the first topology and unloads them with the last one. They bring libraries
  // of 30 MB, which takes 15 ms. So an empty topology lives as long as the process.
  static const HwlocTopology keeps_plugins = make();
  HwlocTopology topology = make();
  hwloc_topology_set_flags(topology.get(), HWLOC_TOPOLOGY_FLAG_IS_THISSYSTEM | flags);
  if (hwloc_topology_load(topology.get()) != 0)
    throw std::runtime_error("hwloc cannot read this machine's topology");
  return topology;
}

// Returns the first logical CPU of each core. On virtual machines that name no cores, each logical CPU counts
// as a core.
std::vector<int> one_cpu_per_core(hwloc_topology_t topology) {
  const bool has_cores = hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_CORE) > 0;
  const hwloc_obj_type_t type = has_cores ? HWLOC_OBJ_CORE : HWLOC_OBJ_PU;
  std::vector<int> cpus;
  for (hwloc_obj_t core = nullptr; (core = hwloc_get_next_obj_by_type(topology, type, core)) != nullptr;) {
    cpus.push_back(hwloc_bitmap_first(core->cpuset));
  }
  if (cpus.empty()) throw std::runtime_error("hwloc shows no CPU for this process");
  return cpus;
}

// Returns the number of the first memory node that contains the CPU; 0 if the system shows none.
int numa_of(hwloc_topology_t topology, int cpu) {
  for (int n = 0; n < hwloc_get_nbobjs_by_type(topology, HWLOC_OBJ_NUMANODE); ++n) {
    const hwloc_obj_t node = hwloc_get_obj_by_type(topology, HWLOC_OBJ_NUMANODE, static_cast<unsigned>(n));
    if (hwloc_bitmap_isset(node->cpuset, static_cast<unsigned>(cpu)) != 0) return n;
  }
  return 0;
}

// Returns true if a variable makes hwloc show another machine than this one. Its CPU numbers then mean
// nothing here.
bool is_made_up() {
  for (const char* name : {"HWLOC_SYNTHETIC", "HWLOC_XMLFILE", "HWLOC_FSROOT"}) {
    const char* value = std::getenv(name);
    if (value != nullptr && *value != '\0') return true;
  }
  return false;
}

// Applies the quota of the control groups. A quota of 2.5 CPUs gives two threads, which never have to wait
// for their share. Threads are not pinned then, because a quota says how much time there is and not on which
// CPUs.
void keep_to_quota(double quota, Topology& topology) {
  if (quota < topology.num_cores) topology.num_cores = std::max(1, static_cast<int>(std::floor(quota)));
  if (quota >= static_cast<double>(topology.core_cpus.size()) && !is_made_up()) return;
  topology.core_cpus.assign(static_cast<size_t>(topology.num_cores), kAnyCpu);
  topology.core_numa.resize(static_cast<size_t>(topology.num_cores));
}

// Returns the CPUs in a list such as "0-3,8", as /proc and /sys write it.
std::vector<int> cpus_in(const std::string& list) {
  std::vector<int> cpus;
  hwloc_bitmap_t set = hwloc_bitmap_alloc();
  if (set != nullptr && hwloc_bitmap_list_sscanf(set, list.c_str()) == 0) {
    for (int cpu = hwloc_bitmap_first(set); cpu >= 0; cpu = hwloc_bitmap_next(set, cpu)) cpus.push_back(cpu);
  }
  hwloc_bitmap_free(set);
  return cpus;
}

int64_t cache_bytes(hwloc_topology_t topology, hwloc_obj_type_t type) {
  const hwloc_obj_t cache = hwloc_get_obj_by_type(topology, type, 0);
  return cache == nullptr ? 0 : static_cast<int64_t>(cache->attr->cache.size);
}

std::string model_name(hwloc_topology_t topology) {
  for (const hwloc_obj_type_t type : {HWLOC_OBJ_PACKAGE, HWLOC_OBJ_MACHINE}) {
    const hwloc_obj_t object = hwloc_get_obj_by_type(topology, type, 0);
    const char* name = object == nullptr ? nullptr : hwloc_obj_get_info_by_name(object, "CPUModel");
    // Some virtual machines pad the name with blanks.
    if (name != nullptr) return {name, std::string_view(name).find_last_not_of(' ') + 1};
  }
  return "unknown";
}

}  // namespace

Topology detect_topology() {
  const HwlocTopology machine = load(HWLOC_TOPOLOGY_FLAG_RESTRICT_TO_CPUBINDING);
  Topology topology;
  topology.cpu_model = model_name(machine.get());
  topology.core_cpus = one_cpu_per_core(machine.get());
  topology.num_cores = static_cast<int>(topology.core_cpus.size());
  topology.num_numa_nodes = std::max(1, hwloc_get_nbobjs_by_type(machine.get(), HWLOC_OBJ_NUMANODE));
  for (const int cpu : topology.core_cpus) topology.core_numa.push_back(numa_of(machine.get(), cpu));
  topology.l1d_bytes = cache_bytes(machine.get(), HWLOC_OBJ_L1CACHE);
  topology.l2_bytes = cache_bytes(machine.get(), HWLOC_OBJ_L2CACHE);
  topology.l3_bytes = cache_bytes(machine.get(), HWLOC_OBJ_L3CACHE);
  topology.num_l3 = std::max(0, hwloc_get_nbobjs_by_type(machine.get(), HWLOC_OBJ_L3CACHE));
  if (const char* told = std::getenv("MOEHILL_L3"); told != nullptr && *told != '\0') {
    topology.l3_bytes = parse_size("MOEHILL_L3", told, 1 << 20, int64_t{1} << 40);
    topology.num_l3 = std::max(1, topology.num_l3);
  }
  keep_to_quota(cgroup_cpus(own_cgroups(), "/sys/fs/cgroup"), topology);
  return topology;
}

std::vector<int> allowed_cpus() {
  cpu_set_t set;
  std::vector<int> cpus;
  if (sched_getaffinity(getpid(), sizeof set, &set) != 0) return cpus;
  for (unsigned cpu = 0; cpu < CPU_SETSIZE; ++cpu) {
    if (CPU_ISSET(cpu, &set)) cpus.push_back(static_cast<int>(cpu));
  }
  return cpus;
}

std::vector<int> allowed_cpus_of_parent() {
  std::ifstream in("/proc/" + std::to_string(getppid()) + "/status");
  const std::string key = "Cpus_allowed_list:";
  for (std::string line; std::getline(in, line);) {
    if (line.starts_with(key)) return cpus_in(line.substr(line.find_first_not_of(" \t", key.size())));
  }
  return {};
}

void allow_cpus(const std::vector<int>& cpus) {
  cpu_set_t set;
  CPU_ZERO(&set);
  for (const int cpu : cpus) CPU_SET(static_cast<unsigned>(cpu), &set);
  std::error_code error;
  for (const auto& thread : std::filesystem::directory_iterator("/proc/self/task", error))
    (void)sched_setaffinity(std::atoi(thread.path().filename().c_str()), sizeof set, &set);
}

}  // namespace moehill
