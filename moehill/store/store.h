// Store reads a results database, and adds notes and noise floors to it. A sweep writes its results through
// store/journal.h.
//
//     Store store = Store::open_existing("moehill.sqlite");
//     for (const StoredExperiment& experiment : store.experiments())
//       for (const StoredPoint& point : store.points(experiment.id)) print(store.records(point.id));
#pragma once

#include <string>
#include <vector>

#include "moehill/base/strict_json.h"
#include "moehill/store/results.h"
#include "moehill/store/sqlite.h"

namespace moehill {

// Store owns the connection.
class Store {
 public:
  // Throws InputError for a file that is missing, that is no database of moehill, or that has another
  // version. Adding notes or a noise floor needs Access::read_write.
  static Store open_existing(const std::string& path, Access access = Access::read_only);
  static Store open_or_create(const std::string& path);

  std::vector<StoredExperiment> experiments();  // in the order in which they were first started
  std::optional<StoredExperiment> find_experiment(const std::string& name);
  std::vector<StoredPoint> points(int64_t experiment_id);      // the current ones, in the order of the matrix
  std::vector<StoredPoint> old_points(int64_t experiment_id);  // from earlier files, builds or machines
  std::vector<StoredPoint> points_with(const std::string& identity);  // of all experiments
  std::vector<StoredAttempt> attempts(int64_t point_id);  // all of them, in the order of their start
  std::vector<StoredRecord> records(int64_t point_id);    // those that count, by round and seq
  std::vector<StoredNote> notes(int64_t experiment_id);   // oldest first
  // Returns the build, compiler, flags, CPU, caches, pinning, MPI, git state, host and so on of an attempt.
  StoredJson provenance(int64_t provenance_id);
  std::vector<StoredNoiseFloor> noise_floors();  // oldest first

  void add_note(const StoredNote& note);
  void add_noise_floor(const StoredNoiseFloor& floor);

 private:
  friend class Journal;
  Store(const std::string& path, Access access);
  void add_samples(StoredRecord& record);
  Database database_;
};

// Returns the JSON of a column. A database may have been edited by hand, so JSON is parsed strictly, and an
// error names file and column.
StoredJson json_at(const Statement& row, int column, JsonForm form = JsonForm::object);

// Returns the option --db if it was given, otherwise the environment's MOEHILL_DB, otherwise
// ./moehill.sqlite. Throws InputError for "-", which would become a file of that name.
std::string database_path(const std::string& option);

}  // namespace moehill
