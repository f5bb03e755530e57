// Device events: the stages and waits of one device in one step, and their way to the first process.
#pragma once

#include <cstdint>
#include <vector>

#include "moehill/bench/stage_clock.h"
#include "moehill/machine/wait.h"
#include "moehill/mesh/job.h"

namespace moehill {

struct DeviceEvents {
  std::vector<StageInterval> stages;
  std::vector<Wait> waits;
  int64_t num_dropped = 0;  // of both, which did not fit
};

using StepEvents = std::vector<DeviceEvents>;  // [device]

// Gathers the events of all processes' devices in the same steps on the first process, by its clock:
// [step][device], devices by rank. The others get nothing. Collective; every process gives as many steps.
// before, after: the clocks of all, read around the steps.
std::vector<StepEvents> gather_events(const Job& job, const std::vector<StepEvents>& local,
                                      const std::vector<ClockReading>& before,
                                      const std::vector<ClockReading>& after);

}  // namespace moehill
