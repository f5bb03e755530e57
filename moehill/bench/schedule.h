// Schedule: times several callables interleaved, one sample each a round, so that a drift of the machine hits
// all alike.
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moehill/machine/clock.h"

namespace moehill {

struct ScheduleOptions {
  int64_t warmup = 1;   // rounds that are thrown away
  int64_t iters = 5;    // rounds at least
  double min_time = 0;  // go on until every point has this many seconds of samples
  double ci_target =
      0;  // go on until the interval of every point's median is within +- this share of it; 0: no such rule
  int64_t max_rounds = 1000;  // end of ci_target, which noise may keep out of reach
};

struct ScheduleHooks {
  std::function<double()> clock = seconds;  // of any start
  // Is called before each sample, warm-up included, outside the clock; null: nothing.
  std::function<void(int point)> before_sample;
  std::function<double(int point, double seconds)>
      agreed;  // what several processes make of this one's sample
  std::function<void(int point)> after_sample;
  std::function<void(int64_t round)> after_round;
  // Returns true where the sample just taken is worth nothing, as of a process that was stopped meanwhile.
  // Its round is repeated, a quarter of `iters` times at most (rounded up); what is spoiled after that is
  // kept.
  std::function<bool(int point)> spoiled;
  // Is asked after each sample. Returns true to end here, without the round if it is not complete.
  std::function<bool()> stop;
};

inline constexpr const char* kInterrupted = "interrupted";  // a stop_reason

struct ScheduleResult {
  std::vector<std::vector<double>> samples;  // [point][round] seconds
  std::vector<std::vector<int>> order;       // [round] the points as they were run
  std::string stop_reason;                   // "iters", "min_time", "ci_target", "max_rounds", "interrupted"
  // [samples taken of a point] whether that one counts: not those of warm-up, of repeated rounds, and of the
  // round that was interrupted. Points that the interrupted round did not reach have one sample fewer.
  std::vector<bool> counts;
  int64_t num_repeated = 0;  // rounds, for a spoiled sample
};

// Order of a round: rotated by one every second round and reversed in odd rounds, so that neighbours and
// places are balanced; two points run A B, B A, B A, A B.
std::vector<int> round_order(int64_t round, int num_points);

ScheduleResult time_interleaved(const std::vector<std::function<void()>>& points,
                                const ScheduleOptions& options, const ScheduleHooks& hooks);

}  // namespace moehill
