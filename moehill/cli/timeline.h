// Timeline: the steps of a point as a trace, with what each stage worked on (docs/metrics.md).
#pragma once

#include "moehill/bench/trace.h"
#include "moehill/cli/results.h"

namespace moehill {

// Of a result with events. clock_uncertainty: seconds by which the clocks of two devices may differ.
Trace make_timeline(const PointResult& result, double clock_uncertainty);

}  // namespace moehill
