// Roofline: what bounds each stage of a step, the time at that bound, and communication as the reference
// logbook counts it. Formulas are in docs/metrics.md.
#pragma once

#include <string>
#include <vector>

#include "moehill/model/predict.h"

namespace moehill {

// One stage on the device with the most work in it, or the step on one device.
struct StageBound {
  std::string stage;
  double flops = 0, memory_bytes = 0, link_bytes = 0;
  double compute_s = 0, memory_s = 0, link_s = 0;  // at the peaks of the hardware
  double imbalance_s = 0;                          // of bound_s: what the slowest device has over the mean
  double overhead_s = 0;                           // starting and joining threads
  double measured_s = 0;                           // 0: not known
  Bound bound = Bound::compute;

  // FLOPs per byte of memory; 0 without bytes.
  double intensity() const { return memory_bytes > 0 ? flops / memory_bytes : 0; }
  double bound_s = 0;  // time at the bound
  double achieved() const { return measured_s > 0 ? bound_s / measured_s : 0; }
};

struct StageMeasurement {
  std::string stage;
  double seconds = 0;
};

struct Roofline {
  std::vector<StageBound> stages;
  // The step on the device whose own stages' bounds add up to the most; rows in flight may pass under them.
  // No prediction is below it.
  StageBound total;
  double sent_bytes = 0;       // of the device that sends the most
  double communication_s = 0;  // measured in stages with a collective; 0: not known
};

// measured: stages of the slowest device, may be empty. step_s: of the whole step, 0 if not known.
Roofline roofline(const WorkProblem& problem, const PlanCounts& counts, const Hardware& hardware, int units,
                  const std::vector<StageMeasurement>& measured, double step_s);

// Communication of the psum path as the reference logbook has it (2026-02-09 14:10): a ring all-reduce of
// the [T, H] output, and one more in the backward pass.
struct LogbookCommunication {
  double tensor_bytes = 0;      // T H b
  double all_reduce_bytes = 0;  // 2 (P - 1) / P of it, a device's
  double step_bytes = 0;        // of all all-reduces of the step
  double implied_bytes_per_s(double seconds) const { return step_bytes / seconds; }
};
LogbookCommunication logbook_communication(int64_t tokens, int64_t hidden, DType dtype, int num_devices,
                                           bool backward);

}  // namespace moehill
