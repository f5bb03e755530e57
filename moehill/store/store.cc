// Implementation of store/store.h: rows of the database become structs and back. Each read_ function takes
// the columns in the order of the SELECT next to it. Only this file and store/journal.cc contain SQL for
// these tables.
#include "moehill/store/store.h"

#include <algorithm>
#include <cstdlib>
#include <filesystem>

#include "moehill/base/error.h"
#include "moehill/base/input_file.h"
#include "moehill/base/parse.h"
#include "moehill/store/schema.h"

namespace moehill {
namespace {

constexpr const char* kExperimentColumns =
    "SELECT id, name, title, hypothesis, expect, next_action, baseline, command, launcher, "
    "reference_section, "
    "reference_defect, rounds, retries, timeout_s, toml, sizing, options_note, created_utc FROM experiment ";
constexpr const char* kPointColumns =
    "SELECT id, experiment_id, identity, position, label, options, axes, arguments, state, is_baseline, "
    "is_current, "
    "predicted_seconds, predicted_bytes FROM point ";

// Reads a record. Its samples are in rows of their own, for which there must be a place.
StoredJson record_at(const Statement& row, int column) {
  StoredJson record = json_at(row, column);
  if (record.contains(kSamples) && !record.at(kSamples).is_array() && !record.at(kSamples).is_null())
    throw input_error(row.place(column), "time_s.samples " + quoted(json_text(record.at(kSamples)), 60),
                      "an array of numbers", kDamagedRemedy);
  return record;
}

std::vector<std::string> texts_at(const Statement& row, int column) {
  const StoredJson json = json_at(row, column, JsonForm::any);
  const auto is_text = [](const StoredJson& value) { return value.is_string(); };
  if (!json.is_array() || !std::all_of(json.begin(), json.end(), is_text))
    throw input_error(row.place(column), quoted(row.text(column)), "an array of texts", kDamagedRemedy);
  return json.get<std::vector<std::string>>();
}

// Reads a row of kExperimentColumns.
StoredExperiment read_experiment(const Statement& row) {
  StoredExperiment e;
  e.id = row.integer(0);
  e.name = row.text(1);
  e.title = row.text(2);
  e.hypothesis = row.text(3);
  e.expect = texts_at(row, 4);
  e.next_action = row.text(5);
  e.baseline = json_at(row, 6);
  e.command = row.text(7);
  e.launcher = row.text(8);
  e.reference_section = row.text(9);
  e.reference_defect = row.text(10);
  e.rounds = row.integer(11);
  // Reports draw a random sample for each round, so a number that no sweep writes must not reach them.
  if (e.rounds < 1 || e.rounds > kMostRounds)
    throw input_error(row.place(11), std::to_string(e.rounds), fmt::format("1 to {}", kMostRounds),
                      kDamagedRemedy);
  e.retries = row.integer(12);
  e.timeout_s = row.real(13);
  e.toml = row.text(14);
  e.sizing = json_at(row, 15);
  e.options_note = row.text(16);
  e.created_utc = row.text(17);
  return e;
}

// Throws StoreError for a state that a newer program may have written.
RunState state_named(const std::string& name) {
  const std::optional<RunState> state = value_named<RunState>(name);
  if (!state) throw StoreError(fmt::format("the state {} of a run is none that this program knows", name));
  return *state;
}

// Reads a row of kPointColumns.
StoredPoint read_point(const Statement& row) {
  StoredPoint p;
  p.id = row.integer(0);
  p.experiment_id = row.integer(1);
  p.identity = row.text(2);
  p.position = row.integer(3);
  p.label = row.text(4);
  p.options = json_at(row, 5);
  p.axes = json_at(row, 6);
  p.arguments = texts_at(row, 7);
  p.state = state_named(row.text(8));
  p.is_baseline = row.integer(9) != 0;
  p.is_current = row.integer(10) != 0;
  p.predicted_seconds = row.optional_real(11);
  p.predicted_bytes = row.optional_real(12);
  return p;
}

// Reads the number of a round. A race counts on from the largest number, so it must be one that a sweep
// writes.
int64_t round_at(const Statement& row, int column) {
  const int64_t round = row.integer(column);
  if (round < 0 || round >= kMostRounds)
    throw input_error(row.place(column), std::to_string(round), fmt::format("0 to {}", kMostRounds - 1),
                      kDamagedRemedy);
  return round;
}

// Reads a row of the SELECT in attempts().
StoredAttempt read_attempt(const Statement& row) {
  StoredAttempt a;
  a.id = row.integer(0);
  a.point_id = row.integer(1);
  a.round = round_at(row, 2);
  a.state = state_named(row.text(3));
  a.counts = row.integer(4) != 0;
  a.started_utc = row.text(5);
  a.seconds = row.real(6);
  a.exit_status = row.integer(7);
  a.output_tail = row.text(8);
  a.disturbed = row.integer(9) != 0;
  a.disturbance = row.text(10);
  a.provenance_id = row.integer(11);
  return a;
}

template <typename T>
std::vector<T> read_all(Statement& statement, T (*read)(const Statement&)) {
  std::vector<T> rows;
  while (statement.step()) rows.push_back(read(statement));
  return rows;
}

// Returns the path. Throws InputError, with a remedy, if no readable file is there; SQLite would create an
// empty one.
std::string checked_existing(const std::string& path) {
  open_input_file(
      {"--db", path, "a database that a sweep has written", "run moehill sweep first, or name another file"});
  return path;
}

}  // namespace

Store::Store(const std::string& path, Access access) : database_(path, access) {
  prepare_database(database_, access);
}

Store Store::open_existing(const std::string& path, Access access) {
  return {checked_existing(path), access};
}
Store Store::open_or_create(const std::string& path) { return {path, Access::read_write}; }

std::vector<StoredExperiment> Store::experiments() {
  Statement statement(database_, std::string(kExperimentColumns) + "ORDER BY id");
  return read_all(statement, read_experiment);
}

std::optional<StoredExperiment> Store::find_experiment(const std::string& name) {
  Statement statement(database_, std::string(kExperimentColumns) + "WHERE name = ?");
  statement.bind(name);
  if (!statement.step()) return std::nullopt;
  return read_experiment(statement);
}

// Returns the points of the present plan. Points of earlier plans stay in the database (old_points()).
std::vector<StoredPoint> Store::points(int64_t experiment_id) {
  Statement statement(database_, std::string(kPointColumns) +
                                     "WHERE experiment_id = ? AND is_current = 1 ORDER BY position, id");
  return read_all(statement.bind(experiment_id), read_point);
}

std::vector<StoredPoint> Store::old_points(int64_t experiment_id) {
  Statement statement(database_,
                      std::string(kPointColumns) + "WHERE experiment_id = ? AND is_current = 0 ORDER BY id");
  return read_all(statement.bind(experiment_id), read_point);
}

std::vector<StoredPoint> Store::points_with(const std::string& identity) {
  Statement statement(database_, std::string(kPointColumns) + "WHERE identity = ? ORDER BY id");
  return read_all(statement.bind(identity), read_point);
}

std::vector<StoredAttempt> Store::attempts(int64_t point_id) {
  Statement statement(
      database_,
      "SELECT id, point_id, round, state, counts, started_utc, seconds, exit_status, output_tail, "
      "disturbed, disturbance, provenance_id FROM attempt WHERE point_id = ? ORDER BY id");
  return read_all(statement.bind(point_id), read_attempt);
}

std::vector<StoredRecord> Store::records(int64_t point_id) {
  // Only attempts that count are read: an attempt that failed or was repeated has records too.
  Statement statement(
      database_,
      "SELECT r.id, r.attempt_id, r.point_id, r.round, r.seq, a.disturbed, r.json FROM record r "
      "JOIN attempt a ON a.id = r.attempt_id WHERE r.point_id = ? AND a.counts = 1 ORDER BY r.round, r.seq");
  auto records = read_all<StoredRecord>(statement.bind(point_id), [](const Statement& row) {
    return StoredRecord{row.integer(0), row.integer(1),      row.integer(2),   round_at(row, 3),
                        row.integer(4), row.integer(5) != 0, record_at(row, 6)};
  });
  for (StoredRecord& record : records) add_samples(record);
  return records;
}

// Adds the samples, which are stored in a table of their own. In databases from before 2026-11-28 the record
// has them already.
void Store::add_samples(StoredRecord& record) {
  if (!record.json.contains(kSamples) || !record.json.at(kSamples).empty()) return;
  Statement statement(database_, "SELECT seconds FROM sample WHERE record_id = ? ORDER BY idx");
  statement.bind(record.id);
  while (statement.step()) record.json.at(kSamples).push_back(statement.real(0));
}

std::vector<StoredNote> Store::notes(int64_t experiment_id) {
  Statement statement(
      database_, "SELECT id, experiment_id, time_utc, text FROM note WHERE experiment_id = ? ORDER BY id");
  return read_all<StoredNote>(statement.bind(experiment_id), [](const Statement& row) {
    return StoredNote{row.integer(0), row.integer(1), row.text(2), row.text(3)};
  });
}

StoredJson Store::provenance(int64_t provenance_id) {
  Statement statement(database_, "SELECT json FROM provenance WHERE id = ?");
  if (!statement.bind(provenance_id).step()) return StoredJson::object();
  return json_at(statement, 0);
}

std::vector<StoredNoiseFloor> Store::noise_floors() {
  Statement statement(
      database_, "SELECT id, time_utc, machine, build, rounds, floor, json FROM noise_floor ORDER BY id");
  return read_all<StoredNoiseFloor>(statement, [](const Statement& row) {
    return StoredNoiseFloor{row.integer(0), row.text(1), row.text(2),    row.text(3),
                            row.integer(4), row.real(5), json_at(row, 6)};
  });
}

void Store::add_note(const StoredNote& note) {
  Statement(database_, "INSERT INTO note(experiment_id, time_utc, text) VALUES(?, ?, ?)")
      .bind(note.experiment_id, note.time_utc, note.text)
      .run();
}

void Store::add_noise_floor(const StoredNoiseFloor& floor) {
  Statement(database_,
            "INSERT INTO noise_floor(time_utc, machine, build, rounds, floor, json) VALUES(?, ?, ?, ?, ?, ?)")
      .bind(floor.time_utc, floor.machine, floor.build, floor.rounds, floor.floor, json_text(floor.json))
      .run();
}

StoredJson json_at(const Statement& row, int column, JsonForm form) {
  return parse_strict_json<StoredJson>(row.text(column), {row.place(column), kDamagedRemedy}, form);
}

// Returns the JSON as one line. Bytes that are not UTF-8 are replaced, so that every record can be written.
std::string json_text(const StoredJson& json) {
  return json.dump(-1, ' ', false, StoredJson::error_handler_t::replace);
}

std::string database_path(const std::string& option) {
  const char* named = std::getenv("MOEHILL_DB");
  const std::string path = !option.empty()                      ? option
                           : named != nullptr && *named != '\0' ? named
                                                                : "moehill.sqlite";
  if (path == "-")
    throw input_error("--db", "'-', which means standard output elsewhere", "a database",
                      "name a file; ./- is one");
  return path;
}

}  // namespace moehill
