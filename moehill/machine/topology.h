// Topology: the cores, caches and memory nodes that this process may use, and the CPUs that it may run on.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

struct Topology {
  std::string cpu_model = "unknown";
  // Physical cores with at least one CPU that the affinity mask and the cpuset allow; no more than the cpu
  // quota of the control groups is worth.
  int num_cores = 1;
  int num_numa_nodes = 1;
  // [num_cores] one logical CPU a core, in the machine's order: neighbours share caches. All are kAnyCpu
  // where a thread must not be held on one: under a quota, which says how much and not where, and where hwloc
  // was told of another machine (HWLOC_SYNTHETIC, HWLOC_XMLFILE, HWLOC_FSROOT).
  std::vector<int> core_cpus;
  std::vector<int> core_numa;  // [num_cores] the NUMA node of each, from 0 on by this process's nodes
  // Bytes of one cache as the first core sees it; 0 where the system does not say.
  int64_t l1d_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
  int num_l3 = 0;  // L3 caches that the allowed cores use
};

// Reads the affinity of the process as it is now, so call it before a thread pins itself.
// Throws std::runtime_error when the system shows no CPU at all.
Topology detect_topology();

// The logical CPUs that this process may run on: its affinity mask, within its cpuset.
std::vector<int> allowed_cpus();
// Those of its parent, as it is now: where a launcher binds its processes, what it was itself given. Empty
// where the system does not say.
std::vector<int> allowed_cpus_of_parent();
// Lets all threads of this process run on these CPUs and no others. A refusal leaves things as they are.
void allow_cpus(const std::vector<int>& cpus);

// One logical CPU of each physical core available to this process.
inline std::vector<int> core_cpus() { return detect_topology().core_cpus; }

}  // namespace moehill
