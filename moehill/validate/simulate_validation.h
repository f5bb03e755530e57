// Simulated steps beside measured ones: random shapes run here, or records of runs elsewhere.
#pragma once

#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/model/hardware.h"

namespace moehill {

// "probe": this machine as moehill probe has measured it; else a file. Throws InputError where there is none.
Hardware simulated_hardware(const std::string& name);

// The hardware for so many devices with so many units on one node that has fewer cores: each device has its
// share of a core in every rate and pays for every fixed cost as much longer. What switching between devices
// costs beside that is not in it.
Hardware with_shared_cores(Hardware hardware, int num_devices, int units_per_device);

struct SimulatedRun {
  RunConfig config;
  double simulated_s = 0, measured_s = 0;
  double error() const { return simulated_s / measured_s - 1; }
};

// Shapes of the model's corpus on 2 and on 4 devices of one thread each, by every path.
std::vector<SimulatedRun> simulate_shapes(int num_shapes, uint32_t corpus, const Hardware& hardware);
// Steps of ep and dp with a median.
std::vector<SimulatedRun> simulate_records(const std::string& path, const Hardware& hardware);

std::string simulated_runs_report(const std::vector<SimulatedRun>& runs, const Hardware& hardware);

}  // namespace moehill
