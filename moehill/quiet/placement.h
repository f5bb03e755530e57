// Placement of a run's devices: which CPUs and memory nodes their threads are on, read back from the system,
// and what is wrong with it.
#pragma once

#include <string>
#include <vector>

#include "moehill/machine/placement.h"
#include "moehill/mesh/job.h"

namespace moehill {

struct DevicePlace {
  std::string host;  // empty: this one
  std::vector<ThreadPlace> threads;
};

// local: of this process's devices, all with the same number of threads. Returns those of all devices in
// their order, on the first process.
std::vector<DevicePlace> gather_places(const Job& job, const std::vector<std::vector<ThreadPlace>>& local);

// True if every thread is held on one CPU.
bool all_pinned(const std::vector<DevicePlace>& devices);

// A line that says where the devices are, the first eight by name, and a line for every warning: more threads
// on a host than its `num_cores` cores, and threads of different devices on one core.
std::string placement_lines(const std::vector<DevicePlace>& devices, int num_cores);

}  // namespace moehill
