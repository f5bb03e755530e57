// CoreWatch repeats a measurement during which not all cores were at hand. It is for short measurements of
// the machine itself (`probe`) and of single shapes (`predict --validate`); `bench` and `tune` interleave
// their points and judge whole rounds instead.
// A virtual machine may put two of its CPUs on one core for a second. Threads then reach half their speed,
// and the minimum over repetitions does not help if all of them fall into that second. Short bursts of
// multiply-adds on all cores before and after each measurement show it.
// A burst does not show other processes, because the scheduler favours threads that have slept. Other
// processes take their time from the measurement that follows. The system's count of busy CPUs shows them.
//
//     CoreWatch watch({0, 1}, /*patience_s=*/10);
//     const double gflops = watch.best_of([&] { return measure(); });
//     watch.num_disturbed();   // measurements that never had the cores for themselves
#pragma once

#include <algorithm>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/quiet/disturbance.h"

namespace moehill {

class CoreWatch {
 public:
  // Watches `cpus`, and takes a moment to learn how much a burst does there. `patience_s` is the number of
  // seconds in all that the watch may spend on waiting for cores and on repeating.
  CoreWatch(const std::vector<int>& cpus, double patience_s);

  // Runs `measure` until no other process took time from it and a burst at full speed follows it: at most
  // kMaxRuns times, and only while the watch has seconds left. Each run first waits for a burst at full
  // speed, for as long as there are seconds left. `measure` itself keeps a value, the best of its runs or the
  // last one.
  template <typename Measure>
  void run(const Measure& measure) {
    for (int i = 1;; ++i) {
      wait_for_cores();
      const Look before = look();
      measure();
      alone_ = left_alone(before);
      if (alone_ && at_full_speed()) return;
      if (i == kMaxRuns || !spend(seconds_since(before))) {
        ++num_disturbed_;
        return;
      }
      ++num_repeated_;
    }
  }

  // Returns the largest of three values of `measure`, each taken by run().
  template <typename Measure>
  double best_of(const Measure& measure) {
    double best = 0;
    for (int i = 0; i < 3; ++i) run([&] { best = std::max(best, measure()); });
    return best;
  }

  int num_repeated() const { return num_repeated_; }
  int num_disturbed() const { return num_disturbed_; }  // measurements of which every run was disturbed

 private:
  static constexpr int kMaxRuns = 4;

  // Look is the state of the counters at one moment.
  struct Look {
    MachineTimes machine;
    double own_s = 0;  // CPU time of this process
  };
  static Look look();
  static bool left_alone(const Look& before);
  static double seconds_since(const Look& before);
  double burst();
  bool at_full_speed();
  void wait_for_cores();
  // Takes the seconds from the patience; returns false if nothing was left.
  bool spend(double seconds);

  ThreadTeam team_;
  double best_ = 0;  // FLOP/s
  bool alone_ = true;
  double left_s_;
  int num_repeated_ = 0, num_disturbed_ = 0;
};

}  // namespace moehill
