// Topology: the cores, caches and memory nodes that this process may use.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

struct Topology {
  std::string cpu_model = "unknown";
  int num_cores = 1;  // physical cores with at least one CPU that the affinity mask and the cpuset allow
  int num_numa_nodes = 1;
  std::vector<int>
      core_cpus;  // [num_cores] one logical CPU a core, in the machine's order: neighbours share caches
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

// Lets all threads of this process run on every CPU that the system allows it (its cpuset), whatever affinity
// it was started with: launchers of several processes bind each to a core of their choice. A refusal leaves
// things as they are.
void allow_all_cpus();

// One logical CPU of each physical core available to this process.
inline std::vector<int> core_cpus() { return detect_topology().core_cpus; }

}  // namespace moehill
