// Steps as records of `moehill bench` have them: the configuration, its routing made again, and what was
// measured.
#pragma once

#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/model/roofline.h"

namespace moehill {

// One step to look at.
struct RecordedStep {
  std::string label;
  RunConfig config;
  Routing routing;
  double time_s = 0, comm_s = 0;
  // Figures measured beside the step on all its cores, the peak for its dtype; 0: the hardware's are taken.
  double peak_flops = 0, read_bytes_per_s = 0;
  std::string instruction;  // of the peak; empty: not named
  std::vector<StageMeasurement> stages;
};

// The steps of a file of records; - is standard input. Lines of other commands are passed over. Throws
// InputError in the name of --record.
std::vector<RecordedStep> steps_of_records(const std::string& path);

}  // namespace moehill
