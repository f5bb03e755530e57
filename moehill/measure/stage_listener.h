// ClockedStages is the bridge between the stages of a step, which moe/ and parallel/ announce, and the
// bench's stage clock. It also keeps the waits. The stages know no clock, and the clock knows no stages.
//
//     DeviceStages stages(num_devices, seconds);
//     run.step(stages.listeners());
//     stages.seconds(0)[static_cast<int>(Stage::up)];   // seconds of device 0 in the stage `up`
#pragma once

#include <algorithm>
#include <array>
#include <memory>
#include <vector>

#include "moehill/bench/stage_clock.h"
#include "moehill/block/stages.h"
#include "moehill/measure/device_events.h"

namespace moehill {

// ClockedStages listens to one device.
class ClockedStages : public StageListener {
 public:
  explicit ClockedStages(std::function<double()> clock) : clock_(kNumStages, std::move(clock)) {
    waits_.reserve(kKeptWaits);
  }
  void begin(const ThreadTeam& team) override { team_ = &team; }
  void enter(Stage stage) override {
    count_hand_overs();
    counted_ = &hand_overs_[static_cast<size_t>(stage)];
    clock_.enter(static_cast<int>(stage));
  }
  void finish() override {
    clock_.finish();
    count_hand_overs();
    counted_ = nullptr;
  }
  void waited(const Wait& wait) override {
    if (waits_.size() < kKeptWaits) {
      waits_.push_back(wait);
    } else {
      ++num_dropped_;
    }
  }
  void restart() {
    clock_.restart();
    hand_overs_.fill(0);
    waits_.clear();
    num_dropped_ = 0;
  }
  const StageClock& clock() const { return clock_; }
  // The team's hand-overs by stage, since restart().
  const std::array<int64_t, kNumStages>& hand_overs() const { return hand_overs_; }
  DeviceEvents events() const { return {clock_.intervals(), waits_, clock_.num_dropped() + num_dropped_}; }

 private:
  // Hand-overs since the last call belong to the stage that was entered then.
  void count_hand_overs() {
    if (team_ == nullptr) return;
    const int64_t now = team_->num_hand_overs();
    if (counted_ != nullptr) *counted_ += now - hand_overs_before_;
    hand_overs_before_ = now;
  }

  static constexpr size_t kKeptWaits = 4096;
  StageClock clock_;
  const ThreadTeam* team_ = nullptr;
  std::array<int64_t, kNumStages> hand_overs_{};
  int64_t* counted_ = nullptr;  // of the stage that runs
  int64_t hand_overs_before_ = 0;
  std::vector<Wait> waits_;
  int64_t num_dropped_ = 0;
};

// DeviceStages are the listeners of a process's devices.
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

  // Seconds by stage of device number `i` here, since restart().
  const std::vector<double>& seconds(size_t i) const { return devices_[i]->clock().seconds(); }
  const std::array<int64_t, kNumStages>& hand_overs(size_t i) const { return devices_[i]->hand_overs(); }
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
