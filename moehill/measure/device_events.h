// Device events are the stages and waits of one device in one step. This file brings them to the first
// process, for wait matrices and traces.
//
//     const std::vector<StepEvents> steps = gather_events(job, local, clocks_before, clocks_after);
//     steps[0][3].stages;   // of device 3 in the first step, by the first process's clock
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/bench/stage_clock.h"
#include "moehill/machine/wait.h"
#include "moehill/mesh/job.h"

namespace moehill {

// DeviceEvents are the events of one device.
struct DeviceEvents {
  std::vector<StageInterval> stages;
  std::vector<Wait> waits;
  int64_t num_dropped = 0;  // stages and waits that did not fit
};

using StepEvents = std::vector<DeviceEvents>;  // [device]

// Gathers the events of all processes' devices in the same steps on the first process, by its clock:
// [step][device], with devices in the order of ranks. The other processes get nothing. Collective; every
// process passes as many steps. `before` and `after` are the clocks of all processes, read around the steps.
std::vector<StepEvents> gather_events(const Job& job, const std::vector<StepEvents>& local,
                                      const std::vector<ClockReading>& before,
                                      const std::vector<ClockReading>& after);

}  // namespace moehill
