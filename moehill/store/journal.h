// Journal: what the driver of a sweep writes: the plan, claims of attempts, and their results.
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/machine/process_identity.h"
#include "moehill/store/store.h"

namespace moehill {

// A run that this process is to do now.
struct Claim {
  int64_t attempt_id = 0, point_id = 0, round = 0;
  bool repeat = false;  // of a round whose result was disturbed
};

// The answer to asking for a run of a point in a round.
enum class ClaimState {
  claimed,
  settled,       // has its result
  given_up,      // the point failed as often as `retries` allows
  elsewhere,     // another sweep runs it at this moment
  machine_busy,  // another sweep measures on this machine: two at once would disturb each other
};
struct ClaimAnswer {
  ClaimState state;
  Claim claim;
};

// Figures of one finished attempt.
struct AttemptResult {
  RunState state = RunState::failed;
  double seconds = 0;
  int64_t exit_status = 0;
  std::string output_tail;
  bool disturbed = false;
  std::string disturbance;
  std::vector<StoredJson> records;  // samples are taken from time_s.samples
};

// Each call is one transaction. A result counts if it is the first of its round, or less disturbed than the
// one before: rounds that were disturbed are run again, once each, and in all a quarter of the experiment's
// runs, since on a machine that is never quiet there would be no end.
class Journal {
 public:
  Journal(Store& store, ProcessIdentity owner, const StoredJson& provenance);

  // Adds the experiment or brings it up to date; points of the same identity keep their results, points that
  // are no longer part of it stop being current. Returns the experiment's id; `points` get theirs.
  int64_t save_plan(const StoredExperiment& experiment, std::vector<StoredPoint>& points);
  // Lets points that gave up be tried again.
  void forgive_failures(int64_t experiment_id);
  // A race is over: points that have results need no more.
  void settle(int64_t experiment_id);

  // `limit_seconds`: after that much time the owner of an attempt is dead, where nothing else shows it.
  // `repeats`: whether a round that has a disturbed result may be claimed once more.
  ClaimAnswer claim(int64_t point_id, int64_t round, double limit_seconds, bool repeats = true);
  void finish(const Claim& claim, const AttemptResult& result);

 private:
  void bury_dead_owners();
  bool machine_is_busy();
  bool runs_elsewhere(int64_t point_id, int64_t round);
  bool has_settled(int64_t point_id, int64_t round, bool repeats);
  bool may_repeat(int64_t point_id, int64_t round);
  bool has_given_up(int64_t point_id);
  bool supersedes(const Claim& claim, const AttemptResult& result);
  void add_record(const Claim& claim, int64_t seq, StoredJson json);
  void refresh_state(int64_t point_id);

  Database& database_;
  ProcessIdentity owner_;
  int64_t provenance_id_ = 0;
};

}  // namespace moehill
