// Implementation of store/journal.h in SQL. Every public method is one transaction, so a sweep that is killed
// leaves a database that the next one can continue.
#include "moehill/store/journal.h"

#include <ctime>
#include <utility>

#include "moehill/base/error.h"

namespace moehill {
namespace {

double epoch_seconds() {
  timespec now{};
  clock_gettime(CLOCK_REALTIME, &now);
  return static_cast<double>(now.tv_sec) + 1e-9 * static_cast<double>(now.tv_nsec);
}

int64_t one_integer(Statement& statement) { return statement.step() ? statement.integer(0) : 0; }

// Attempts of the same machine and build share one row of provenance.
int64_t save_provenance(Database& database, const StoredJson& provenance) {
  const std::string text = json_text(provenance);
  Transaction transaction(database);
  Statement(database, "INSERT INTO provenance(json) VALUES(?) ON CONFLICT DO NOTHING").bind(text).run();
  Statement find(database, "SELECT id FROM provenance WHERE json = ?");
  const int64_t id = one_integer(find.bind(text));
  transaction.commit();
  return id;
}

// "ON CONFLICT DO UPDATE" keeps the id, on which points and notes depend.
int64_t upsert_experiment(Database& database, const StoredExperiment& e) {
  Statement(
      database,
      "INSERT INTO experiment(name, title, hypothesis, expect, next_action, baseline, command, launcher, "
      "reference_section, reference_defect, rounds, retries, timeout_s, toml, sizing, options_note, "
      "created_utc) "
      "VALUES(?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,?,strftime('%Y-%m-%dT%H:%M:%SZ', 'now')) ON CONFLICT(name) DO "
      "UPDATE SET "
      "title=excluded.title, hypothesis=excluded.hypothesis, expect=excluded.expect, "
      "next_action=excluded.next_action, baseline=excluded.baseline, command=excluded.command, "
      "launcher=excluded.launcher, reference_section=excluded.reference_section, "
      "reference_defect=excluded.reference_defect, rounds=excluded.rounds, retries=excluded.retries, "
      "timeout_s=excluded.timeout_s, toml=excluded.toml, sizing=excluded.sizing, "
      "options_note=excluded.options_note")
      .bind(e.name, e.title, e.hypothesis, json_text(e.expect), e.next_action, json_text(e.baseline),
            e.command, e.launcher, e.reference_section, e.reference_defect, e.rounds, e.retries, e.timeout_s,
            e.toml, json_text(e.sizing), e.options_note)
      .run();
  Statement find(database, "SELECT id FROM experiment WHERE name = ?");
  return one_integer(find.bind(e.name));
}

int64_t upsert_point(Database& database, const StoredPoint& p) {
  Statement(
      database,
      "INSERT INTO point(experiment_id, identity, position, label, options, axes, arguments, state, "
      "is_baseline, "
      "is_current, predicted_seconds, predicted_bytes) VALUES(?,?,?,?,?,?,?,'pending',?,1,?,?) "
      "ON CONFLICT(experiment_id, identity) DO UPDATE SET position=excluded.position, label=excluded.label, "
      "options=excluded.options, axes=excluded.axes, arguments=excluded.arguments, "
      "is_baseline=excluded.is_baseline, is_current=1, predicted_seconds=excluded.predicted_seconds, "
      "predicted_bytes=excluded.predicted_bytes")
      .bind(p.experiment_id, p.identity, p.position, p.label, json_text(p.options), json_text(p.axes),
            json_text(p.arguments), p.is_baseline, p.predicted_seconds, p.predicted_bytes)
      .run();
  Statement find(database, "SELECT id FROM point WHERE experiment_id = ? AND identity = ?");
  return one_integer(find.bind(p.experiment_id, p.identity));
}

// Thresholds keeps the expectations that stood before the first result. Expectations that somebody changes
// after seeing results do not count.
class Thresholds {
 public:
  Thresholds(Database& database, const std::string& name) : database_(database) {
    Statement find(database, "SELECT expect, sizing FROM experiment WHERE name = ?");
    if (!find.bind(name).step()) return;
    before_ = json_at(find, 1).value(kExpectBefore, json_at(find, 0, JsonForm::any));
  }
  void keep(int64_t experiment_id, const StoredExperiment& now) {
    if (before_.is_null() || before_ == StoredJson(now.expect)) return;
    // Without a result that counts, the file may still change its expectations.
    Statement results(database_,
                      "SELECT count(*) FROM attempt a JOIN point p ON p.id = a.point_id "
                      "WHERE a.counts = 1 AND p.is_current = 1 AND p.experiment_id = ?");
    if (one_integer(results.bind(experiment_id)) == 0) return;
    StoredJson sizing = now.sizing;
    sizing[kExpectBefore] = before_;
    Statement(database_, "UPDATE experiment SET sizing = ? WHERE id = ?")
        .bind(json_text(sizing), experiment_id)
        .run();
  }

 private:
  Database& database_;
  StoredJson before_;
};

// The states of attempts that count as failures of a point.
constexpr const char* kFailures = "('failed', 'timeout', 'out_of_memory', 'rank_lost')";

}  // namespace

Journal::Journal(Store& store, ProcessIdentity owner, const StoredJson& provenance)
    : database_(store.database_), owner_(std::move(owner)) {
  provenance_id_ = save_provenance(database_, provenance);
}

int64_t Journal::save_plan(const StoredExperiment& experiment, std::vector<StoredPoint>& points) {
  Transaction transaction(database_);
  Thresholds thresholds(database_, experiment.name);
  const int64_t experiment_id = upsert_experiment(database_, experiment);
  Statement(database_, "UPDATE point SET is_current = 0 WHERE experiment_id = ?").bind(experiment_id).run();
  bury_dead_owners();
  for (StoredPoint& point : points) {
    point.experiment_id = experiment_id;
    point.id = upsert_point(database_, point);
    refresh_state(point.id);
  }
  thresholds.keep(experiment_id, experiment);
  transaction.commit();
  return experiment_id;
}

void Journal::forgive_failures(int64_t experiment_id) {
  Transaction transaction(database_);
  Statement(database_, std::string("UPDATE attempt SET forgiven = 1 WHERE state IN ") + kFailures +
                           " AND point_id IN (SELECT id FROM point WHERE experiment_id = ?)")
      .bind(experiment_id)
      .run();
  Statement points(database_, "SELECT id FROM point WHERE experiment_id = ?");
  points.bind(experiment_id);
  while (points.step()) refresh_state(points.integer(0));
  transaction.commit();
}

// Marks an attempt whose process is gone as interrupted, so that it is run again. On the same host the system
// tells whether the process is gone; an owner on another host counts as gone after its deadline.
void Journal::bury_dead_owners() {
  Statement running(
      database_,
      "SELECT id, point_id, owner_host, owner_boot, owner_pid, owner_start_ticks, deadline_epoch "
      "FROM attempt WHERE state = 'running'");
  std::vector<std::pair<int64_t, int64_t>> dead;
  while (running.step()) {
    const ProcessIdentity owner{running.text(2), running.text(3), running.integer(4), running.integer(5)};
    const Liveness liveness = liveness_of(owner);
    const bool overdue = liveness == Liveness::unknown && epoch_seconds() > running.real(6);
    if (liveness == Liveness::dead || overdue) dead.emplace_back(running.integer(0), running.integer(1));
  }
  Statement bury(database_, "UPDATE attempt SET state = 'interrupted' WHERE id = ?");
  for (const auto& [attempt_id, point_id] : dead) {
    bury.bind(attempt_id).run();
    refresh_state(point_id);
  }
}

bool Journal::machine_is_busy(Beside beside) {
  Statement statement(
      database_,
      "SELECT count(*) FROM attempt WHERE state = 'running' AND owner_host = ? AND NOT (? AND "
      "owner_boot = ? AND owner_pid = ? AND owner_start_ticks = ?)");
  const bool is_own_free = beside == Beside::own_runs;
  return one_integer(statement.bind(owner_.host, is_own_free, owner_.boot, owner_.pid, owner_.start_ticks)) >
         0;
}

bool Journal::runs_elsewhere(int64_t point_id, int64_t round) {
  Statement statement(database_,
                      "SELECT count(*) FROM attempt WHERE state = 'running' AND point_id = ? AND round = ?");
  return one_integer(statement.bind(point_id, round)) > 0;
}

bool Journal::has_settled(int64_t point_id, int64_t round, bool repeats) {
  // If an attempt of this round counts already, this one repeats it.
  Statement counting(database_,
                     "SELECT disturbed FROM attempt WHERE point_id = ? AND round = ? AND counts = 1");
  if (!counting.bind(point_id, round).step()) return false;
  return counting.integer(0) == 0 || !repeats || !may_repeat(point_id, round);
}

// A disturbed round is repeated at most once, and at most a quarter of all runs of the experiment are
// repeats.
bool Journal::may_repeat(int64_t point_id, int64_t round) {
  Statement repeats(
      database_,
      "SELECT coalesce(sum(a.counts = 0), 0), coalesce(sum(a.counts = 0 AND a.point_id = ? AND a.round = ?), "
      "0) "
      "FROM attempt a JOIN point p ON p.id = a.point_id WHERE a.state = 'done' AND p.is_current = 1 AND "
      "p.experiment_id = (SELECT experiment_id FROM point WHERE id = ?)");
  Statement runs(
      database_,
      "SELECT count(*) * max(e.rounds) FROM point p JOIN experiment e ON e.id = p.experiment_id WHERE "
      "p.is_current = 1 AND e.id = (SELECT experiment_id FROM point WHERE id = ?)");
  if (!repeats.bind(point_id, round, point_id).step()) return false;
  return repeats.integer(1) == 0 && 4 * repeats.integer(0) < one_integer(runs.bind(point_id));
}

bool Journal::has_given_up(int64_t point_id) {
  Statement statement(database_,
                      std::string("SELECT count(*) > (SELECT e.retries FROM experiment e JOIN point p ON "
                                  "p.experiment_id = e.id WHERE p.id = ?) FROM attempt "
                                  "WHERE point_id = ? AND forgiven = 0 AND state IN ") +
                          kFailures);
  return one_integer(statement.bind(point_id, point_id)) != 0;
}

void Journal::settle(int64_t experiment_id) {
  Statement(database_,
            "UPDATE point SET state = 'done' WHERE experiment_id = ? AND is_current = 1 AND state = "
            "'pending' AND EXISTS "
            "(SELECT 1 FROM attempt a WHERE a.point_id = point.id AND a.counts = 1)")
      .bind(experiment_id)
      .run();
}

// The checks and the claim are one transaction under the write lock, so two sweeps cannot claim the same run.
ClaimAnswer Journal::claim(int64_t point_id, int64_t round, double limit_seconds, bool repeats,
                           Beside beside) {
  Transaction transaction(database_);
  bury_dead_owners();
  // The order of the questions matters: first whether there is nothing to do, then whether the point has
  // failed too often, and only then whether another sweep is at work.
  std::optional<ClaimState> refused;
  if (has_settled(point_id, round, repeats)) {
    refused = ClaimState::settled;
  } else if (has_given_up(point_id)) {
    refused = ClaimState::given_up;
  } else if (runs_elsewhere(point_id, round)) {
    refused = ClaimState::elsewhere;
  } else if (machine_is_busy(beside)) {
    refused = ClaimState::machine_busy;
  }
  Claim claim{0, point_id, round, false};
  if (!refused) {
    Statement(database_,
              "INSERT INTO attempt(point_id, round, state, counts, started_utc, provenance_id, owner_host, "
              "owner_boot, "
              "owner_pid, owner_start_ticks, deadline_epoch) VALUES(?, ?, 'running', 0, "
              "strftime('%Y-%m-%dT%H:%M:%SZ', 'now'), ?, ?, ?, ?, ?, ?)")
        .bind(point_id, round, provenance_id_, owner_.host, owner_.boot, owner_.pid, owner_.start_ticks,
              epoch_seconds() + limit_seconds)
        .run();
    claim.attempt_id = database_.last_insert_id();
    Statement counting(database_,
                       "SELECT count(*) FROM attempt WHERE point_id = ? AND round = ? AND counts = 1");
    claim.repeat = one_integer(counting.bind(point_id, round)) > 0;
    refresh_state(point_id);
  }
  transaction.commit();
  return {refused.value_or(ClaimState::claimed), claim};
}

// The first result of a round counts. A second result replaces it only if the first was disturbed and the
// second was not.
bool Journal::supersedes(const Claim& claim, const AttemptResult& result) {
  if (result.state != RunState::done) return false;
  Statement counting(database_,
                     "SELECT disturbed FROM attempt WHERE point_id = ? AND round = ? AND counts = 1");
  if (!counting.bind(claim.point_id, claim.round).step()) return true;
  return counting.integer(0) != 0 && !result.disturbed;
}

void Journal::finish(const Claim& claim, const AttemptResult& result) {
  Transaction transaction(database_);
  const bool counts = supersedes(claim, result);
  if (counts) {
    Statement(database_, "UPDATE attempt SET counts = 0 WHERE point_id = ? AND round = ?")
        .bind(claim.point_id, claim.round)
        .run();
  }
  Statement(database_,
            "UPDATE attempt SET state = ?, counts = ?, seconds = ?, exit_status = ?, output_tail = ?, "
            "disturbed = ?, "
            "disturbance = ? WHERE id = ? AND state = 'running'")
      .bind(name_of(result.state), counts, result.seconds, result.exit_status, result.output_tail,
            result.disturbed, result.disturbance, claim.attempt_id)
      .run();
  // Another sweep may have taken this process for dead, for example on another host after the deadline. Then
  // the other sweep's result counts, and this one is dropped.
  if (database_.changed_rows() == 0) return;
  for (size_t i = 0; i < result.records.size(); ++i)
    add_record(claim, static_cast<int64_t>(i), result.records[i]);
  refresh_state(claim.point_id);
  transaction.commit();
}

// Samples are rows of their own, so that SQL can read them. Store::records() puts them back into their
// record.
void Journal::add_record(const Claim& claim, int64_t seq, StoredJson json) {
  StoredJson samples = StoredJson::array();
  if (json.contains(kSamples)) std::swap(samples, json.at(kSamples));
  Statement(database_, "INSERT INTO record(attempt_id, point_id, round, seq, json) VALUES(?, ?, ?, ?, ?)")
      .bind(claim.attempt_id, claim.point_id, claim.round, seq, json_text(json))
      .run();
  const int64_t record_id = database_.last_insert_id();
  Statement insert(database_, "INSERT INTO sample(record_id, idx, seconds) VALUES(?, ?, ?)");
  for (size_t i = 0; i < samples.size(); ++i) {
    if (samples[i].is_number())
      insert.bind(record_id, static_cast<int64_t>(i), samples[i].get<double>()).run();
  }
}

// The state of a point is `running` if an attempt runs, and `done` if every round has a result. The state of
// a point that gave up is its last failure. If its last attempt was interrupted it is `interrupted`,
// otherwise `pending`.
void Journal::refresh_state(int64_t point_id) {
  Statement query(
      database_,
      "SELECT e.rounds, (SELECT count(*) FROM attempt a WHERE a.point_id = p.id AND a.state = 'running'), "
      "(SELECT count(*) FROM attempt a WHERE a.point_id = p.id AND a.counts = 1 AND a.round < e.rounds), "
      "(SELECT a.state FROM attempt a WHERE a.point_id = p.id AND a.state != 'running' ORDER BY a.id DESC) "
      "FROM point p JOIN experiment e ON e.id = p.experiment_id WHERE p.id = ?");
  if (!query.bind(point_id).step()) return;
  const int64_t rounds = query.integer(0), running = query.integer(1), counting = query.integer(2);
  const std::string interrupted = name_of(RunState::interrupted);
  std::string state = query.text(3) == interrupted ? interrupted : name_of(RunState::pending);
  if (running > 0) {
    state = name_of(RunState::running);
  } else if (counting >= rounds) {
    state = name_of(RunState::done);
  } else if (has_given_up(point_id)) {
    Statement failure(
        database_,
        std::string("SELECT state FROM attempt WHERE point_id = ? AND forgiven = 0 AND state IN ") +
            kFailures + " ORDER BY id DESC");
    state = failure.bind(point_id).step() ? failure.text(0) : name_of(RunState::failed);
  }
  Statement(database_, "UPDATE point SET state = ? WHERE id = ?").bind(state, point_id).run();
}

}  // namespace moehill
