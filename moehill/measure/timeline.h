// Timeline: the steps of a point as a trace, with what each stage worked on (docs/metrics.md).
#pragma once

#include "moehill/bench/trace.h"
#include "moehill/measure/results.h"

namespace moehill {

// Makes the trace of a result with events. clock_uncertainty: seconds by which the clocks of two devices may
// differ.
Trace make_timeline(const PointResult& result, double clock_uncertainty);

// The time that keeping events costs a step: the events of the device with the most, times what one takes
// here and now.
struct TimelineCost {
  size_t num_events = 0;
  double seconds = 0;
};
TimelineCost timeline_cost(const PointResult& result);

}  // namespace moehill
