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
  PageSample expert_pages =
      {};  // of the weights that the device works on: on its threads' memory nodes or not
  double remote_share() const;  // of the pages whose node is known; 0 without any
};

// local: of this process's devices, without hosts; those without threads are none. Returns those of all
// devices in their order, on the first process.
std::vector<DevicePlace> gather_places(const Job& job, const std::vector<DevicePlace>& local);

// True if every thread is held on one CPU.
bool all_pinned(const std::vector<DevicePlace>& devices);

// A line that says where the devices are, the first eight by name, and a line for every warning: more threads
// on a host than its `num_cores` cores, and threads of different devices on one core.
std::string placement_lines(const std::vector<DevicePlace>& devices, int num_cores);

}  // namespace moehill
