// Recorded steps are read back from records of `moehill bench`: the configuration, its routing made again,
// and what was measured. Commands that look at a step without running it use them (predict, roofline).
//
//     for (const RecordedStep& step : steps_of_records("runs.jsonl")) explain(step.config, step.routing);
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/model/roofline.h"
#include "moehill/parallel/work_problem.h"

namespace moehill {

// RecordedStep is one step to look at.
struct RecordedStep {
  std::string label;         // what was run; steps of other routings have the same
  std::string distribution;  // the routing, as --distribution names it
  uint32_t seed = 0;         // of the routing
  RunConfig config;
  Routing routing;
  DeviceMemory memory = DeviceMemory::shared;  // of the devices of a node
  double time_s = 0, comm_s = 0;               // 0: not known
  // These were measured beside the step; 0: the hardware file's figures are taken. The peak is for the step's
  // dtype on all its cores, and the bandwidth is that of a node.
  double peak_flops = 0, read_bytes_per_s = 0;
  std::string instruction;  // of the peak; empty: not named
  std::vector<StageMeasurement> stages;
  int nodes = 1;  // number of nodes of its processes
};

// Returns the steps of a file of records; "-" is standard input. Lines of other commands are skipped. A step
// whose check has not passed has no seconds, and its label says so. Throws InputError in the name of
// --record, also for records whose routings together take long to make again.
std::vector<RecordedStep> steps_of_records(const std::string& path);

// Throws InputError in the name of --hardware if the devices of a recorded step would be on other nodes of
// this hardware. What is computed would then be for links that the step did not have.
void require_its_nodes(const RecordedStep& step, const Hardware& hardware);

}  // namespace moehill
