// Placement tells on which CPUs and memory nodes the system runs the threads of a run's devices, and warns if
// something is wrong with that. It moves nothing; machine/pinning.h pins threads.
//
//     const std::vector<DevicePlace> devices = gather_places(job, local);
//     fmt::print("{}", placement_lines(devices, num_cores));   // "devices 0: CPU 0, memory node 0; ..."
#pragma once

#include <string>
#include <vector>

#include "moehill/machine/placement.h"
#include "moehill/mesh/job.h"

namespace moehill {

// DevicePlace is where one device is.
struct DevicePlace {
  std::string host;  // empty: this one
  std::vector<ThreadPlace> threads;
  // A sample of the pages of its expert weights: how many are on its threads' memory nodes, and how many on
  // others.
  PageSample expert_pages = {};
  // Returns the share of pages on other nodes among those whose node is known; 0 if none is.
  double remote_share() const;
};

// Collects the places of all devices in their order; the result is complete on the first process only.
// `local` has this process's devices without host names. A device without threads belongs to another process
// and is left out.
std::vector<DevicePlace> gather_places(const Job& job, const std::vector<DevicePlace>& local);

// True if there are devices and each of their threads is held on one CPU.
bool all_pinned(const std::vector<DevicePlace>& devices);

// Returns one line that says where the devices are, the first eight by name, and a line for every warning: a
// host has more threads than its `num_cores` cores, or two threads share a core.
std::string placement_lines(const std::vector<DevicePlace>& devices, int num_cores);

}  // namespace moehill
