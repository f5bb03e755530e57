// StepTimer steps a run with its stages clocked. The commands that time a few steps of many runs use it
// (probe, validate). It checks nothing and has no rounds; Measurement times the points of a benchmark.
//
//     StepTimer timer(factory.make(config), /*num_steps=*/5);
//     for (size_t i = 0; i < 5; ++i) timer.step(i);
//     median_of(timer.step_s);   // seconds
#pragma once

#include <memory>
#include <vector>

#include "moehill/api/measuring.h"
#include "moehill/machine/clock.h"
#include "moehill/measure/stage_listener.h"
#include "moehill/quiet/cold_caches.h"
#include "moehill/quiet/core_watch.h"

namespace moehill {

// StepTimer owns its run.
class StepTimer {
 public:
  // Makes one step, which touches all memory for the first time.
  StepTimer(std::unique_ptr<Run> run, size_t num_steps, const std::function<double()>& clock = seconds)
      : step_s(num_steps),
        stage_s(num_steps),
        run_(std::move(run)),
        clock_(clock),
        stages_(run_->config().num_devices, clock) {
    const double begin = clock_();
    run_->step({});
    first_s = clock_() - begin;
  }

  // Times step i. If step i is run again, the new times replace the old ones.
  void step(size_t i) {
    stages_.restart();
    run_->rouse();
    const double begin = clock_();
    run_->step(stages_.listeners());
    step_s[i] = clock_() - begin;
    stage_s[i].clear();
    for (size_t d = 0; d < stages_.size(); ++d) stage_s[i].push_back(stages_.seconds(d));
  }
  const Run& run() const { return *run_; }

  double first_s = 0;                                     // of the step that touched all memory first
  std::vector<double> step_s;                             // [steps]
  std::vector<std::vector<std::vector<double>>> stage_s;  // [steps][devices][kNumStages]

 private:
  std::unique_ptr<Run> run_;
  std::function<double()> clock_;
  DeviceStages stages_;
};

// Cores are where runs are timed: the CPUs, the watch that tells whether all of them were there, and the
// object that empties their caches.
struct Cores {
  const std::vector<int>& cpus;
  CoreWatch& watch;
  ColdCores& cold;
};

// Times all steps of all timers in turn, one step each in a round. Every step begins with cold caches, and a
// round in which not all cores were at hand is run again.
inline void time_in_turn(std::vector<StepTimer>& timers, const Cores& cores) {
  size_t num_rounds = 0;
  for (const StepTimer& timer : timers) num_rounds = std::max(num_rounds, timer.step_s.size());
  for (size_t i = 0; i < num_rounds; ++i) {
    cores.watch.run([&] {
      for (StepTimer& timer : timers) {
        if (i >= timer.step_s.size()) continue;
        cores.cold();
        timer.step(i);
      }
    });
  }
}

}  // namespace moehill
