// The bridge between the stages of a step and the bench's stage clock, which keeps the waits too.
#pragma once

#include <algorithm>
#include <memory>
#include <vector>

#include "moehill/bench/stage_clock.h"
#include "moehill/block/stages.h"
#include "moehill/measure/device_events.h"

namespace moehill {

class ClockedStages : public StageListener {
 public:
  explicit ClockedStages(std::function<double()> clock) : clock_(kNumStages, std::move(clock)) {
    waits_.reserve(kKeptWaits);
  }
  void enter(Stage stage) override { clock_.enter(static_cast<int>(stage)); }
  void finish() override { clock_.finish(); }
  void waited(double begin, double end) override {
    if (waits_.size() < kKeptWaits) {
      waits_.push_back({begin, end});
    } else {
      ++num_dropped_;
    }
  }
  void restart() {
    clock_.restart();
    waits_.clear();
    num_dropped_ = 0;
  }
  const StageClock& clock() const { return clock_; }
  DeviceEvents events() const { return {clock_.intervals(), waits_, clock_.num_dropped() + num_dropped_}; }

 private:
  static constexpr size_t kKeptWaits = 4096;
  StageClock clock_;
  std::vector<Wait> waits_;
  int64_t num_dropped_ = 0;
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
    for (const auto& device : devices_) device->restart();
  }

  // Seconds per stage of the device at `i`, since restart().
  const std::vector<double>& seconds(size_t i) const { return devices_[i]->clock().seconds(); }
  size_t size() const { return devices_.size(); }

  // True if any device entered the stage.
  bool entered(int stage) const {
    return std::any_of(devices_.begin(), devices_.end(),
                       [&](const auto& device) { return device->clock().visits()[stage] > 0; });
  }

  StepEvents events() const {
    StepEvents events;
    for (const auto& device : devices_) events.push_back(device->events());
    return events;
  }

 private:
  std::vector<std::unique_ptr<ClockedStages>> devices_;
};

}  // namespace moehill
