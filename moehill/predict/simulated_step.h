// SimulatedStep is one simulated step with all figures that are reported of it. It joins the rooms that a
// simulation needs: routing, the model's work, the program and the simulator.
//
//     RoutingSource source(options);
//     const Routing& routing = source.route(tokens, most_tokens, num_devices);
//     const SimulatedStep step = simulate_step(options, hardware, Spread::fused, num_devices, routing);
//     step.tokens_per_s();
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "moehill/model/predict.h"
#include "moehill/predict/simulate_options.h"
#include "moehill/routing/skew.h"
#include "moehill/routing/statistics.h"
#include "moehill/simulation/critical_path.h"

namespace moehill {

// All figures are of one step with this path on this many devices.
struct SimulatedStep {
  Spread path = Spread::ragged_a2a;
  CollectiveForm form = CollectiveForm::direct;
  Wire wire = Wire::native;                   // native on one node, whatever was asked for
  int num_devices = 1, units_per_device = 1;  // units: cores or chips
  int64_t tokens = 0, assignments = 0;
  int experts = 0;
  Cluster cluster;
  StepProgram program;
  Simulation simulation;
  std::vector<PathPiece> critical;
  LoadStatistics load;
  std::vector<SkewProperty> skew;
  double expert_max_over_mean = 0, device_max_over_mean = 0;
  double flops = 0;         // of the model, for all devices
  double memory_bytes = 0;  // of the device that needs the most
  // Seconds that the simulator itself took, to count and plan, and to simulate messages.
  double plan_s = 0, simulate_s = 0;
  int64_t peak_rss_bytes = 0;

  double tokens_per_s() const { return static_cast<double>(tokens) / simulation.seconds; }
};

// RoutingSource routes tokens for any number of devices. A smaller routing has the first tokens of a larger
// one.
class RoutingSource {
 public:
  explicit RoutingSource(const SimulateOptions& options) : options_(options) {}
  // Routes once for the most tokens that will be asked for, unless the distribution depends on the devices.
  // The routing that it returns is valid until the next call.
  const Routing& route(int64_t num_tokens, int64_t most_tokens, int num_devices,
                       const SimulationProgress& progress = {});

 private:
  const SimulateOptions& options_;
  // The routing of the most tokens, and of those that were asked for last if they were fewer.
  Routing most_, asked_;
};

// Simulates a step. It calls `progress` now and then with the share of the step that is done.
SimulatedStep simulate_step(const SimulateOptions& options, const Hardware& hardware, Spread path,
                            int num_devices, const Routing& routing, const SimulationProgress& progress = {});

// Throws InputError for groups and forms that the sizes and paths cannot have.
void refuse_impossible_messages(const SimulateOptions& options, const Hardware& hardware);

}  // namespace moehill
