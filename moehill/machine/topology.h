// Topology has the cores, caches and memory nodes that this process may use, and the CPUs on which it may
// run. It says nothing about speed, which kernels/peak.h measures.
//
//   const Topology topology = detect_topology();   // before any thread is pinned
//   ThreadTeam team(topology.num_cores, topology.core_cpus);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace moehill {

// Topology is the part of the machine that the process may use.
struct Topology {
  std::string cpu_model = "unknown";
  // The number of physical cores of which the affinity mask and the cpuset allow at least one CPU, but no
  // more than the CPU quota of the control groups is worth.
  int num_cores = 1;
  int num_numa_nodes = 1;
  // [num_cores] one logical CPU of each core, in the machine's order, so that neighbours share caches. All
  // are kAnyCpu if threads must not be pinned: under a CPU quota, and if a variable makes hwloc show another
  // machine (HWLOC_SYNTHETIC, HWLOC_XMLFILE, HWLOC_FSROOT).
  std::vector<int> core_cpus;
  // [num_cores] the memory node of each core, counted from 0 over the nodes of this process.
  std::vector<int> core_numa;
  // Bytes of one cache as the first core sees it; 0 if the system does not say. A virtual machine may show
  // caches that it does not have: the variable MOEHILL_L3, such as 32M, says how large each L3 cache is.
  int64_t l1d_bytes = 0;
  int64_t l2_bytes = 0;
  int64_t l3_bytes = 0;
  int num_l3 = 0;  // L3 caches that the allowed cores use
};

// Reads the topology and the affinity of the process as it is now, so call it before a thread pins itself.
// Throws std::runtime_error if the system shows no CPU at all.
Topology detect_topology();

// Returns the logical CPUs on which this process may run: its affinity mask within its cpuset.
std::vector<int> allowed_cpus();
// Returns the CPUs on which the parent process may run now; nothing if the system does not say. A launcher
// such as mpirun binds its processes to fewer CPUs than it has itself, and its own set is what the job may
// use.
std::vector<int> allowed_cpus_of_parent();
// Lets all threads of this process run on these CPUs and on no others. If the system refuses, nothing
// changes.
void allow_cpus(const std::vector<int>& cpus);

// Returns one logical CPU of each physical core that is available to this process.
inline std::vector<int> core_cpus() { return detect_topology().core_cpus; }

}  // namespace moehill
