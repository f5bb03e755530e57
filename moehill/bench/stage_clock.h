// StageClock tells how long a device spends in each of a few numbered stages, and when.
// It does not know what the stages mean (block/stages.h does), and it is not shared between threads: each
// device has its own.
//
//     StageClock clock(kNumStages, seconds);
//     clock.enter(0), dispatch();
//     clock.enter(1), multiply();
//     clock.finish();
//     clock.seconds()[1];   // seconds in stage 1 since restart()
#pragma once

#include <cstdint>
#include <functional>
#include <vector>

namespace moehill {

// StageInterval is one stretch of time in a stage, in seconds of the clock.
struct StageInterval {
  int stage = 0;
  double begin = 0, end = 0;
};

// enter(s) ends the stage that runs and begins s; finish() ends the last one. Neither allocates memory, since
// both are called inside a timed step. So the clock keeps only the first kKept intervals since restart() and
// counts the others. Sums and visits include all of them.
class StageClock {
 public:
  StageClock(int num_stages, std::function<double()> clock);

  void restart();  // forgets everything
  void enter(int stage);
  void finish();

  // These count since restart(): seconds and visits per stage, and the intervals in order.
  const std::vector<double>& seconds() const { return seconds_; }
  const std::vector<int>& visits() const { return visits_; }
  const std::vector<StageInterval>& intervals() const { return intervals_; }
  int64_t num_dropped() const { return num_dropped_; }

 private:
  static constexpr size_t kKept = 4096;
  static constexpr int kIdle = -1;
  void close(double now);

  std::function<double()> clock_;
  std::vector<double> seconds_;
  std::vector<int> visits_;
  std::vector<StageInterval> intervals_;
  int64_t num_dropped_ = 0;
  int current_ = kIdle;
  double begin_ = 0;
};

}  // namespace moehill
