// This header describes the machine that each of several devices sees if they share its cores. The model and
// the simulator take a unit for each device, so without this they would give four devices four cores, even on
// a machine of two.
//
//   predict(problem, counts, with_shared_cores(hardware, 4, 1), 1);   // four devices on two cores
#pragma once

#include "moehill/model/hardware.h"

namespace moehill {

// Returns the hardware for `num_devices` devices of `units_per_device` units on one node that has fewer
// cores. Each device gets its share of a core in every rate, and the plan, a barrier and a stage take longer
// by the same factor. The result leaves out what switching between devices costs beside that. Chips are not
// shared, and neither are nodes that a network joins.
Hardware with_shared_cores(Hardware hardware, int num_devices, int units_per_device);

}  // namespace moehill
