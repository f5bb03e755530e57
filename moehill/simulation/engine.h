// The simulator: runs a StepProgram on a Cluster, all devices at once, with links shared by the flows that
// cross them.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moehill/simulation/cluster.h"
#include "moehill/simulation/step_program.h"

namespace moehill {

struct TimeSpan {
  double begin = 0, end = 0;  // seconds
};

// The bytes that crossed a link in the whole step.
struct LinkLoad {
  std::string name;
  int64_t bytes = 0;
  double bytes_per_s = 0;
};

struct Simulation {
  double seconds = 0;
  std::vector<std::vector<TimeSpan>> stages;  // [stage][device]
  std::vector<LinkLoad> links;                // those that carried anything, by name
  int64_t delivered_bytes = 0;                // by all flows
  int64_t num_flows = 0;
  int64_t peak_rss_bytes = 0;  // of the process that simulated
};

// An exchange as it is simulated. It starts when all devices have ended the one before it in the stage, or
// begun the stage, as the collectives of a mesh do. A device sends one message after the other (the pairwise
// exchange of MPI libraries); it ends when it has sent and received everything.
//
// In groups a flow stands for messages of many devices. So a device ends no earlier than its own messages
// would take one after the other, alone on their links, and no earlier than its whole group has received
// everything. What a node's links carry is exact as long as a group is not larger than a node.

// The process that simulates calls this now and then with the part of the flows that have arrived.
using SimulationProgress = std::function<void(double part)>;

// Throws InputError in a build without SimGrid.
void require_simulator();

// Throws InputError in a build without SimGrid. Runs in a child process, because SimGrid can be started once
// in a process; the same arguments always give the same result, except for peak_rss_bytes.
Simulation simulate(const Cluster& cluster, const StepProgram& program,
                    const SimulationProgress& progress = {});

}  // namespace moehill
