// Probe blocks are steps of calibration blocks with their stages clocked. They give the speeds of products by
// rows in a group, and the speeds of row operations. A TimedBlock holds what was measured; everything else is
// computed from it alone, so that tests need no clock.
//
//     set_row_rates(timed_block(timer), hardware);   // hardware.rows.gather, ... in B/s of a core
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

// TimedBlock is the work of one or several devices in a step, and the seconds of its stages. For several
// devices both are sums over the devices.
struct TimedBlock {
  std::vector<DeviceWork> work;  // [devices]
  std::vector<double> stage_s;   // [kNumStages] median of the steps on each device, added up
  double step_s = 0;             // median
  int units = 1;                 // cores of a device
};
// Makes a TimedBlock of the steps that a timer took.
TimedBlock timed_block(const StepTimer& timer);

// Adds the speeds of the block's products, with `rows` in each group, to the curves of its up- and
// down-projections, as shares of h's peak.
void add_points(const TimedBlock& timed, double rows, Hardware& h, std::array<GemmCurve, 2>& curves);
// Sets the rates of row operations and of the plan, from a block with many rows on all cores.
void set_row_rates(const TimedBlock& timed, Hardware& h);
// Sets the fixed costs, from a block with next to no work.
void set_fixed_costs(const TimedBlock& timed, Hardware& h);

// Fills h.gemm, h.rows, h.plan_s_per_assignment, h.start_s and h.stage_s; h.peak_* have to be there. Its
// blocks run on one device with a thread on each core; those for h.gemm also run on devices of one core each
// that share the experts. It tells `progress` what comes next, and calls `measured` whenever h.gemm has more
// rows.
void probe_blocks(const Topology& topology, CoreWatch& watch, Hardware& h,
                  const std::function<void(const std::string&)>& progress,
                  const std::function<void()>& measured);

}  // namespace moehill
