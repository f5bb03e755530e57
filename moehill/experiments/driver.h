// Driver runs the points of a sweep plan as child processes, round by round, and stores the result of each.
// It does not measure: a child is `moehill bench` or `moehill profile`. Each run has a process of its own, so
// that runs do not influence each other through memory or warmed-up threads. With SweepPlan::shared the
// points of a round share a process instead.
//
//     SweepPlan plan = make_plan(file, host, sizing);
//     const SweepOutcome outcome = run_sweep(store, plan, host, {.show = show});
//     outcome.counts.done;   // points with a result for every round
#pragma once

#include <functional>
#include <limits>
#include <string>
#include <vector>

#include "moehill/experiments/host.h"
#include "moehill/experiments/plan.h"
#include "moehill/store/journal.h"

namespace moehill {

// SweepCounts counts points and attempts.
struct SweepCounts {
  int64_t points = 0, done = 0;       // done: with a result for every round
  int64_t failed = 0;                 // gave up, for whatever reason
  int64_t started = 0, repeated = 0;  // attempts by this process; those that repeated a disturbed round
  int64_t disturbed = 0;              // results that count although they were disturbed
};

// SweepEnd: the sweep is done, or somebody stopped it.
enum class SweepEnd { done, interrupted };
// SweepOutcome is how a sweep ended.
struct SweepOutcome {
  SweepEnd end = SweepEnd::done;
  SweepCounts counts;
  bool check_failed = false;  // in some attempt of this process
};

// DriverOptions are what a command asks of the driver.
struct DriverOptions {
  bool retry_failed = false;  // try points that gave up again
  // Shows progress; a line that is not finished may be overwritten.
  std::function<void(const std::string& line, bool finished)> show;
  // No new round begins after this time, once every point has a result; 0: there is no limit.
  double stop_after_seconds = 0;
  // A race sets these two. `wants` says whether a point runs in a round, and `goes_on` says after each round
  // whether another one follows. With them a disturbed run is repeated at once, since what follows depends on
  // it, and not after all rounds. Empty: every point runs in every round. If points share a process, `wants`
  // is asked for all points before it starts, and otherwise for each point before its run.
  std::function<bool(size_t point, int64_t round)> wants;
  std::function<bool(int64_t round)> goes_on;
  // A race may also say under which number the runs of a round are stored. It is asked as the round begins.
  std::function<int64_t(int64_t round)> number_of = [](int64_t round) { return round; };
  // A race may also say whether there is time for a run of so many seconds that it did not plan: a disturbed
  // run once more, or a point alone whose shared process has failed.
  std::function<bool(double seconds)> affords = [](double) { return true; };
  // A race may also say how many seconds a process of these points may take, if they are fewer than the
  // experiment's limit. It is asked as the process begins. A run that is ended so counts as interrupted, so
  // it can still be made.
  std::function<double(const std::vector<size_t>& points)> limit = [](const std::vector<size_t>&) {
    return std::numeric_limits<double>::infinity();
  };
  // A race may also give up waiting for the runs of other sweeps. Its round then lacks a run.
  std::function<bool()> waits = [] { return true; };
  // Runs are told of what earlier runs of their point checked (checked_records.h). A race that compares the
  // memory of runs sets false, since the check takes memory.
  bool takes_checks_over = true;
};

// Runs every point and round that has no result yet. If a driver was killed, at most the attempt that was
// running then is run again. SIGINT and SIGTERM end the sweep after the running child is killed. A failure of
// a point is stored, and the others go on. If a check fails in a process of several points, its point has
// failed, and the others have their results. If such a process fails otherwise, each of its points runs
// alone, which shows what is wrong with it. From then on each point has a process of its own, unless this is
// a race and a point failed alone: a race drops that point, and the others share a process again. StoreError
// leaves everything that was stored before.
SweepOutcome run_sweep(Store& store, SweepPlan& plan, const SweepHost& host, const DriverOptions& options);

// Tells the state of an attempt, from how its process ended and from what the process said.
struct ChildResult;
RunState classify(const ChildResult& child, size_t num_records, bool launched, bool kernel_killed_for_memory);

}  // namespace moehill
