// The bridge between the stages of a step and the bench's stage clock.
#pragma once

#include <algorithm>
#include <memory>
#include <string>
#include <vector>

#include "moehill/bench/stage_clock.h"
#include "moehill/bench/trace.h"
#include "moehill/moe/stages.h"

namespace moehill {

class ClockedStages : public StageListener {
 public:
  explicit ClockedStages(std::function<double()> clock) : clock_(kNumStages, std::move(clock)) {}
  void enter(Stage stage) override { clock_.enter(static_cast<int>(stage)); }
  void finish() override { clock_.finish(); }
  StageClock& clock() { return clock_; }
  const StageClock& clock() const { return clock_; }

  // Without waiting for others: every device waits in its collectives for the slowest one.
  double busy_seconds() const {
    double total = clock_.total_seconds();
    for (const Stage stage : {Stage::dispatch, Stage::reduce, Stage::dispatch_grad, Stage::reduce_grad})
      total -= clock_.seconds()[static_cast<int>(stage)];
    return total;
  }

 private:
  StageClock clock_;
};

// The listeners of all devices of a run.
class DeviceStages {
 public:
  DeviceStages(int num_devices, const std::function<double()>& clock) {
    for (int i = 0; i < num_devices; ++i) devices_.push_back(std::make_unique<ClockedStages>(clock));
  }

  std::vector<StageListener*> listeners() const {
    std::vector<StageListener*> pointers;
    for (const auto& device : devices_) pointers.push_back(device.get());
    return pointers;
  }
  void restart() {
    for (const auto& device : devices_) device->clock().restart();
  }

  // Seconds per stage on the device that the others waited for.
  std::vector<double> slowest_device_seconds() const {
    const auto slowest = std::max_element(devices_.begin(), devices_.end(), [](const auto& a, const auto& b) {
      return a->busy_seconds() < b->busy_seconds();
    });
    return (*slowest)->clock().seconds();
  }

  // Names of the stages that any device entered, in the order of the enum.
  std::vector<std::string> entered() const {
    std::vector<std::string> names;
    for (int stage = 0; stage < kNumStages; ++stage) {
      const bool visited = std::any_of(devices_.begin(), devices_.end(), [&](const auto& device) {
        return device->clock().visits()[stage] > 0;
      });
      if (visited) names.push_back(name_of(static_cast<Stage>(stage)));
    }
    return names;
  }

  std::vector<DeviceTrace> traces() const {
    std::vector<DeviceTrace> traces;
    for (size_t i = 0; i < devices_.size(); ++i) {
      traces.push_back({"device " + std::to_string(i), devices_[i]->clock().intervals()});
    }
    return traces;
  }

 private:
  std::vector<std::unique_ptr<ClockedStages>> devices_;
};

}  // namespace moehill
