// Steps of calibration blocks with their stages clocked: speeds of products by rows a group, and of the row
// operations. What is measured is a TimedBlock; what follows from it is a function of it alone.
#pragma once

#include <array>
#include <functional>
#include <string>
#include <vector>

#include "moehill/machine/topology.h"
#include "moehill/measure/step_timer.h"
#include "moehill/model/hardware.h"
#include "moehill/model/work.h"

namespace moehill {

// The work of one device or several in a step, and the seconds of its stages. Several devices are added up:
// the work of all in the seconds of all.
struct TimedBlock {
  std::vector<DeviceWork> work;  // [devices]
  std::vector<double> stage_s;   // [kNumStages] median of the steps on each device, added up
  double step_s = 0;             // median
  int units = 1;                 // of a device
};
TimedBlock timed_block(const StepTimer& timer);

// Adds the speeds of the block's products with `rows` a group to the curves of its up- and down-projections,
// as shares of h's peak.
void add_points(const TimedBlock& timed, double rows, Hardware& h, std::array<GemmCurve, 2>& curves);
// Row operations, and the plan: from a block with many rows on all cores.
void set_row_rates(const TimedBlock& timed, Hardware& h);
// Fixed costs: from a block with next to no work.
void set_fixed_costs(const TimedBlock& timed, Hardware& h);

// Fills h.gemm, h.rows, h.plan_s_per_assignment, h.start_s and h.stage_s; h.peak_* must be there. One device
// with a thread on each core. `progress` is told what comes next. `measured` is called when h.gemm has more
// rows.
void probe_blocks(const Topology& topology, CoreWatch& watch, Hardware& h,
                  const std::function<void(const std::string&)>& progress,
                  const std::function<void()>& measured);

}  // namespace moehill
