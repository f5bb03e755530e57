// The simulator: runs a StepProgram on a Cluster, all devices at once, with links shared by the flows that
// cross them.
#pragma once

#include <cstdint>
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
  int group = 1;  // devices whose messages were aggregated
};

// An exchange as it is simulated. It starts when all devices have begun the stage, as the collectives of a
// mesh do. Device d sends its messages to d + 1, d + 2, ... (the pairwise exchange of MPI libraries), one
// after the other; the stage ends on a device when it has sent and received everything.
//
// With more than `exact_devices` devices, consecutive ones form groups: messages between two groups are one
// flow of all their bytes, and a stage ends for no member before its group has received everything. What a
// node's links carry is exact as long as a group is not larger than a node.
struct EngineOptions {
  int exact_devices = 128;
};

// Throws InputError in a build without SimGrid.
void require_simulator();

// Throws InputError in a build without SimGrid. Runs in a child process, because SimGrid can be started once
// in a process; the same result for the same arguments, always.
Simulation simulate(const Cluster& cluster, const StepProgram& program, const EngineOptions& options = {});

}  // namespace moehill
