// Driver: runs a sweep plan's points as child processes, round by round, and stores what became of each.
#pragma once

#include <functional>
#include <string>

#include "moehill/experiments/host.h"
#include "moehill/experiments/plan.h"
#include "moehill/store/journal.h"

namespace moehill {

struct SweepCounts {
  int64_t points = 0, done = 0;       // done: with a result for every round
  int64_t failed = 0;                 // gave up, by whatever
  int64_t started = 0, repeated = 0;  // attempts by this process; those of rounds that were disturbed
  int64_t disturbed = 0;              // results that count although they were
};

enum class SweepEnd { done, interrupted };
struct SweepOutcome {
  SweepEnd end = SweepEnd::done;
  SweepCounts counts;
  bool check_failed = false;  // in some attempt of this process
};

struct DriverOptions {
  bool retry_failed = false;  // points that gave up too
  std::function<void(const std::string& line, bool finished)>
      show;  // progress; not finished: may be overwritten
  double stop_after_seconds =
      0;  // no new round begins after it once every point has a result; 0: no such limit
  // A race sets this: it says whether a point runs in a round, and after each round whether another one
  // follows. A disturbed run is then repeated at once, since what follows depends on it, and not when all
  // rounds are through. Empty: every point runs in every round.
  std::function<bool(size_t point, int64_t round)> wants;
  std::function<bool(int64_t round)> goes_on;
  // A race may also say whether a disturbed run is repeated; `seconds` is how long it took.
  std::function<bool(double seconds)> repeats = [](double) { return true; };
};

// Points that have their results are not run again; at most the attempt that was running when a driver was
// killed is. SIGINT and SIGTERM end it after the running child is killed. A failure of a point is stored and
// the others go on; StoreError leaves everything that was stored before.
SweepOutcome run_sweep(Store& store, SweepPlan& plan, const SweepHost& host, const DriverOptions& options);

// Says what became of an attempt, by how its process ended and what it said.
struct ChildResult;
RunState classify(const ChildResult& child, size_t num_records, bool launched, bool kernel_killed_for_memory);

}  // namespace moehill
