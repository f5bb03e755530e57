// Journal is what the driver of a sweep writes: the plan, claims of attempts, and their results. Store reads
// them.
// Several sweeps may write to one database at the same time, also from several hosts. A claim gives a run to
// exactly one of them.
//
//     Journal journal(store, this_process(), provenance);
//     const int64_t id = journal.save_plan(experiment, points);
//     const ClaimAnswer answer = journal.claim(points[0].id, /*round=*/0, limit_seconds);
//     if (answer.state == ClaimState::claimed) journal.finish(answer.claim, run(points[0]));
#pragma once

#include <optional>
#include <string>
#include <vector>

#include "moehill/machine/process_identity.h"
#include "moehill/store/store.h"

namespace moehill {

// Claim is a run that this process is to do now.
struct Claim {
  int64_t attempt_id = 0, point_id = 0, round = 0;
  bool repeat = false;  // the round has a result already, which was disturbed
};

// ClaimState is the answer to asking for a run of a point in a round.
enum class ClaimState {
  claimed,
  settled,       // the round has its result
  given_up,      // the point failed more often than `retries` allows
  elsewhere,     // another sweep runs it at this moment
  machine_busy,  // another sweep measures on this machine: two at once would disturb each other
};
// ClaimAnswer carries a claim if the state is `claimed`.
struct ClaimAnswer {
  ClaimState state;
  Claim claim;
};

// Beside says what else may run on this machine while a claim is held. A run of several points is claimed
// once for each of them, by the same process.
enum class Beside { nothing, own_runs };

// AttemptResult is what a finished attempt gave.
struct AttemptResult {
  RunState state = RunState::failed;
  double seconds = 0;
  int64_t exit_status = 0;
  std::string output_tail;
  bool disturbed = false;
  std::string disturbance;
  std::vector<StoredJson> records;  // their time_s.samples go into a table of their own
};

// Each call is one transaction. A result counts if it is the first of its round, or if it was not disturbed
// and the earlier result was. A disturbed round is run again once. In all at most a quarter of the
// experiment's runs are repeated, because on a machine that is never quiet there would be no end.
class Journal {
 public:
  Journal(Store& store, ProcessIdentity owner, const StoredJson& provenance);

  // Adds the experiment or brings it up to date. Points of the same identity keep their results; points that
  // are no longer part of the experiment stop being current. Returns the experiment's id, and sets the ids of
  // `points`.
  int64_t save_plan(const StoredExperiment& experiment, std::vector<StoredPoint>& points);
  // Lets points that gave up be tried again.
  void forgive_failures(int64_t experiment_id);
  // Ends a race: points that have a result need no more.
  void settle(int64_t experiment_id);

  // Asks for a run. After `limit_seconds` the owner of the attempt counts as dead if nothing else shows
  // whether it lives. `repeats` tells whether a round with a disturbed result may be run once more.
  ClaimAnswer claim(int64_t point_id, int64_t round, double limit_seconds, bool repeats = true,
                    Beside beside = Beside::nothing);
  // Stores the result of a claimed run.
  void finish(const Claim& claim, const AttemptResult& result);

 private:
  void bury_dead_owners();
  bool machine_is_busy(Beside beside);
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
