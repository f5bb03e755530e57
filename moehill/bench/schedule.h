// Schedule times several callables interleaved: each round takes one sample of every point. A drift of the
// machine then hits all points alike and cancels in their ratios.
// It knows nothing of what it times, and it judges nothing: bench/statistics.h makes medians and intervals of
// its samples.
//
//     const auto result = time_interleaved({[&] { step(a); }, [&] { step(b); }}, {.iters = 20}, {});
//     result.samples[1][3];   // seconds of `b` in round 3
#pragma once

#include <cstdint>
#include <functional>
#include <string>
#include <vector>

#include "moehill/machine/clock.h"

namespace moehill {

// ScheduleOptions says when to stop: once `iters`, `min_time` and `ci_target` are all reached.
struct ScheduleOptions {
  int64_t warmup = 1;  // rounds before the first that counts
  int64_t iters = 5;   // rounds that count, at least
  // Go on until every point has this many seconds of samples.
  double min_time = 0;
  // Go on until the interval of every point's median is within +- this share of the median. 0 means that
  // there is no such rule.
  double ci_target = 0;
  // After this many rounds `ci_target` is given up, because a noisy machine may never reach it.
  int64_t max_rounds = 1000;
};

// ScheduleHooks lets the caller act between samples. Every hook but the clock may be empty.
struct ScheduleHooks {
  std::function<double()> clock = seconds;  // seconds since any fixed moment
  // The schedule calls this before each sample, also in the warm-up, while the clock does not run.
  std::function<void(int point)> before_sample;
  // Returns the sample on which several processes agree, given this process's own: usually the largest of
  // all.
  std::function<double(int point, double seconds)> agreed;
  std::function<void(int point)> after_sample;
  std::function<void(int64_t round)> after_round;
  // Returns true if the sample just taken is worthless, for example because the process was stopped
  // meanwhile. The round is then repeated. At most a quarter of `iters` rounds (rounded up) are repeated;
  // after that a spoiled round counts like any other.
  std::function<bool(int point)> spoiled;
  // The schedule asks this after each sample; true ends it there. A round that is not complete is then
  // dropped.
  std::function<bool()> stop;
};

inline constexpr const char* kInterrupted = "interrupted";  // a stop_reason

// ScheduleResult holds every sample that counts. All points have the same number of them.
struct ScheduleResult {
  std::vector<std::vector<double>> samples;  // [point][round] seconds
  std::vector<std::vector<int>> order;       // [round] the points as they were run
  std::string stop_reason;                   // "iters", "min_time", "ci_target", "max_rounds", "interrupted"
  // For each point, one entry per sample in the order of time: true if the sample counts. Samples of the
  // warm-up, of repeated rounds and of an interrupted round do not count. A point that the interrupted round
  // did not reach has one entry fewer.
  std::vector<bool> counts;
  int64_t num_repeated = 0;  // rounds run again because a sample was spoiled
};

// Returns the order of the points in a round. Every second round rotates the order by one, and odd rounds
// reverse it. Over 2 num_points rounds each point has each place equally often, and runs before a neighbour
// as often as after it. Two points run A B, B A, B A, A B.
std::vector<int> round_order(int64_t round, int num_points);

// Runs warm-up and rounds until a rule of `options` or a hook ends them. Each of `points` is one call of the
// thing to be timed.
ScheduleResult time_interleaved(const std::vector<std::function<void()>>& points,
                                const ScheduleOptions& options, const ScheduleHooks& hooks);

}  // namespace moehill
