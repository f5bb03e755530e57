// Steps of calibration blocks with their stages clocked: speeds of products by rows a group, and of the row
// operations.
#pragma once

#include <functional>
#include <string>
#include <vector>

#include "moehill/machine/topology.h"
#include "moehill/model/hardware.h"
#include "moehill/quiet/core_watch.h"

namespace moehill {

// Fills h.gemm, h.rows, h.plan_s_per_assignment, h.start_s and h.stage_s; h.peak_* must be there. One device
// with a thread on each core.
void probe_blocks(const Topology& topology, CoreWatch& watch, Hardware& h,
                  const std::function<void(const std::string&)>& progress);

}  // namespace moehill
