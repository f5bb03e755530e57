// CoreWatch: measures again what ran while not all cores were at hand.
//
// A virtual machine may put two of its CPUs on one core for a second: threads then reach half their speed,
// and no minimum over repetitions that all fall into that second shows it. Short bursts of multiply-adds on
// all cores do, when they lie before and after every measurement. Other processes let a burst through, since
// its threads have slept, and take their time from what follows; the system's count of busy CPUs tells of
// them.
#pragma once

#include <algorithm>
#include <vector>

#include "moehill/machine/thread_team.h"
#include "moehill/quiet/disturbance.h"

namespace moehill {

class CoreWatch {
 public:
  // Watches `cpus`; takes a moment to learn what a burst reaches there. patience_s: seconds in all to wait
  // for cores and to run again.
  CoreWatch(const std::vector<int>& cpus, double patience_s);

  // Runs `measure`, which keeps the best of all its runs or the last of them, until a burst at full speed
  // lies on either side of it: kMaxRuns times at most, and while the watch has seconds left to wait or
  // repeat.
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

  // The largest of three values of `measure`, each as by run().
  template <typename Measure>
  double best_of(const Measure& measure) {
    double best = 0;
    for (int i = 0; i < 3; ++i) run([&] { best = std::max(best, measure()); });
    return best;
  }

  int num_repeated() const { return num_repeated_; }
  int num_disturbed() const { return num_disturbed_; }  // measurements with no run undisturbed

 private:
  static constexpr int kMaxRuns = 4;

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
  bool spend(double seconds);  // false: nothing left

  ThreadTeam team_;
  double best_ = 0;  // FLOP/s
  bool alone_ = true;
  double left_s_;
  int num_repeated_ = 0, num_disturbed_ = 0;
};

}  // namespace moehill
