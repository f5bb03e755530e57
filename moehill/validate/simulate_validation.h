// This header compares simulated steps with measured ones: random shapes that are run here, or records of
// runs elsewhere. validate/validation.h compares the model's own predictions.
//
//     const auto runs = simulate_shapes(/*num_shapes=*/20, /*corpus=*/0, hardware);
//     fmt::print("{}", simulated_runs_report(runs, hardware));
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/block/run_config.h"
#include "moehill/model/hardware.h"
#include "moehill/validate/validation.h"

namespace moehill {

// SimulatedRun is one step, simulated and measured.
struct SimulatedRun {
  RunConfig config;
  double simulated_s = 0, measured_s = 0;
  std::string left_out = {};  // why it was not simulated; empty if it was
  double error() const { return simulated_s / measured_s - 1; }
};

inline constexpr int kMostDevicesRun = 4;  // of one thread each
// Runs and simulates shapes of the model's corpus on 2 and on 4 devices of one thread each, with dp and the
// paths compact_psum, ring_ag_rs, ragged_a2a and fused. The shape after which `done` returns true is the
// last.
std::vector<SimulatedRun> simulate_shapes(int num_shapes, uint32_t corpus, const Hardware& hardware,
                                          const ShapeDone& done = {});
// Returns how often simulate_shapes() calls `done` if it runs to its end.
int num_simulated_shapes(int num_shapes);
// Simulates the recorded steps of ep and dp that have a median. A step that the model does not cover, such as
// one with the backend ragged_dot, is in the result without a simulation.
std::vector<SimulatedRun> simulate_records(const std::string& path, const Hardware& hardware);

// Gives the errors by devices and threads of a device, since these decide which devices share cores.
std::string simulated_runs_report(const std::vector<SimulatedRun>& runs, const Hardware& hardware);

}  // namespace moehill
