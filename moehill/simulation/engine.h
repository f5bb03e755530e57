// The simulator runs a StepProgram on a Cluster: all devices at once, with links shared by the flows that
// cross them. How long the work of a stage takes is part of the program (simulation/program_builder.h); the
// simulator finds out how stages and messages delay each other.
//
//     require_simulator();
//     const Simulation simulation = simulate(cluster, program);
//     simulation.seconds, simulation.stages[0][3].end;   // of the step; when device 3 ended the first stage
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moehill/simulation/cluster.h"
#include "moehill/simulation/step_program.h"

namespace moehill {

// TimeSpan is a stretch of simulated time.
struct TimeSpan {
  double begin = 0, end = 0;  // seconds
};

// LinkLoad is a link and the bytes that crossed it in the whole step.
struct LinkLoad {
  std::string name;
  int64_t bytes = 0;
  double bytes_per_s = 0;
};

// Simulation is the result.
struct Simulation {
  double seconds = 0;
  std::vector<std::vector<TimeSpan>> stages;  // [stage][device]
  std::vector<LinkLoad> links;                // those that carried anything, sorted by name
  int64_t delivered_bytes = 0;                // by all flows
  int64_t num_flows = 0;
  int64_t peak_rss_bytes = 0;  // of the process that simulated
};

// An exchange starts on a device when all devices have ended the exchange before it in the stage or, for the
// first one, have begun the stage. The collectives of a mesh do the same. A device sends one message after
// the other, which is the pairwise exchange of MPI libraries. The exchange ends on a device when the device
// has sent and received everything.
//
// With groups, a flow stands for messages of many devices. So a device ends no earlier than its own messages
// would take one after the other and alone on their links, and no earlier than its whole group has received
// everything. What the links of a node carry is exact as long as a group is not larger than a node. With
// groups of several nodes, flows whose ends are closer than kEndTogether end at once, because SimGrid
// computes the shares of all flows anew at each end.
//
// The process that simulates calls SimulationProgress now and then with the share of the flows that have
// arrived.
using SimulationProgress = std::function<void(double part)>;

// This is a fraction of the time that an average flow between nodes takes alone.
inline constexpr double kEndTogether = 0.01;

// Loads SimGrid. Throws InputError in a build without it, and std::runtime_error if its module cannot be
// loaded, so that a command can refuse before it does anything.
void require_simulator();

// Runs in a child process, because SimGrid can be started only once in a process. The same arguments always
// give the same result, except for peak_rss_bytes. Throws what require_simulator() throws.
Simulation simulate(const Cluster& cluster, const StepProgram& program,
                    const SimulationProgress& progress = {});

}  // namespace moehill
