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

 private:
  StageClock clock_;
};

// The listeners of a process's devices.
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

  // Of the device at `i`: seconds per stage since restart().
  const std::vector<double>& seconds(size_t i) const { return devices_[i]->clock().seconds(); }
  size_t size() const { return devices_.size(); }

  // Whether any device entered the stage.
  bool entered(int stage) const {
    return std::any_of(devices_.begin(), devices_.end(),
                       [&](const auto& device) { return device->clock().visits()[stage] > 0; });
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
