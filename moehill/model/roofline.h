// Roofline tells what limits each stage of a step, and the time at that limit. It also counts communication
// as the reference logbook does. A prediction (predict.h) says what is likely, a roofline what is possible.
// The formulas are in docs/metrics.md.
//
//   const Roofline bounds = roofline(problem, counts, hardware, units, {}, step_s);
//   bounds.total.achieved();   // 0.8: the step takes 1.25 times its bound
#pragma once

#include <string>
#include <vector>

#include "moehill/model/predict.h"

namespace moehill {

// StageBound is one stage on the device that has most work in it, or the whole step on one device.
struct StageBound {
  std::string stage;
  double flops = 0, memory_bytes = 0, link_bytes = 0;
  double compute_s = 0, memory_s = 0, link_s = 0;  // at the peaks of the hardware
  double imbalance_s = 0;                          // bound_s minus the mean bound of all devices
  double overhead_s = 0;                           // starting and joining threads
  double measured_s = 0;                           // 0: not known
  Bound bound = Bound::compute;

  // Returns FLOPs per byte of memory; 0 if there are no bytes.
  double intensity() const { return memory_bytes > 0 ? flops / memory_bytes : 0; }
  double bound_s = 0;  // the time at the bound
  double achieved() const { return measured_s > 0 ? bound_s / measured_s : 0; }
};

// StageMeasurement is a measured stage of the slowest device.
struct StageMeasurement {
  std::string stage;
  double seconds = 0;
};

// Roofline holds the bounds of all stages and of the step.
struct Roofline {
  std::vector<StageBound> stages;
  // The step on the device whose stages' bounds add up to the most. The bound lets a stage's work hide its
  // rows in flight completely, so no prediction is below it.
  StageBound total;
  double sent_bytes = 0;       // of the device that sends most
  double network_bytes = 0;    // of the device that sends most to other nodes
  double communication_s = 0;  // measured in stages with a collective; 0: not known
};

// `measured` has the stages of the slowest device, and may be empty. `step_s` is the seconds of the whole
// step; 0 if not known.
Roofline roofline(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware, int units,
                  const std::vector<StageMeasurement>& measured, double step_s);

// LogbookCommunication is the communication of the psum path as the reference logbook counts it (2026-02-09
// 14:10): a ring all-reduce of the [T, H] output, and one more in the backward pass.
struct LogbookCommunication {
  double tensor_bytes = 0;      // T H b
  double all_reduce_bytes = 0;  // 2 (P - 1) / P of that, for one device
  double step_bytes = 0;        // of all all-reduces in the step
  double implied_bytes_per_s(double seconds) const { return step_bytes / seconds; }
};
LogbookCommunication logbook_communication(int64_t tokens, int64_t hidden, DType dtype, int num_devices,
                                           bool backward);

}  // namespace moehill
