// Timeline makes a trace of the steps of a point (bench/trace.h), with what each stage worked on
// (docs/metrics.md). It is a picture for people; figures of stages are in StageSeconds.
//
//     std::ofstream(path) << chrome_trace(make_timeline(result, command.clock_uncertainty));
#pragma once

#include "moehill/bench/trace.h"
#include "moehill/measure/results.h"

namespace moehill {

// Makes the trace of a result with events. `clock_uncertainty` is how many seconds the clocks of two devices
// may differ by.
Trace make_timeline(const PointResult& result, double clock_uncertainty);

// TimelineCost is the time that keeping events costs a step: the number of events of the device that has the
// most, times the time that one event takes at present.
struct TimelineCost {
  size_t num_events = 0;
  double seconds = 0;
};
TimelineCost timeline_cost(const PointResult& result);

}  // namespace moehill
