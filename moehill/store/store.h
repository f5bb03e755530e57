// Store: a results database, read by anyone; a sweep writes through store/journal.h.
#pragma once

#include <string>
#include <vector>

#include "moehill/store/results.h"
#include "moehill/store/sqlite.h"

namespace moehill {

class Store {
 public:
  // Throws InputError for a file that is missing, is not a database of moehill, or is of a newer version.
  // Adding notes or a noise floor needs Access::read_write.
  static Store open_existing(const std::string& path, Access access = Access::read_only);
  static Store open_or_create(const std::string& path);

  std::vector<StoredExperiment> experiments();  // in the order in which they were first started
  std::optional<StoredExperiment> find_experiment(const std::string& name);
  std::vector<StoredPoint> points(int64_t experiment_id);      // the current ones, in the order of the matrix
  std::vector<StoredPoint> old_points(int64_t experiment_id);  // of earlier files, builds or machines
  std::vector<StoredAttempt> attempts(int64_t point_id);       // all, in the order in which they were started
  std::vector<StoredRecord> records(int64_t point_id);         // those that count, by round and seq
  std::vector<StoredNote> notes(int64_t experiment_id);        // oldest first
  // build, compiler, flags, cpu, caches, pinning, mpi, git, host ... of an attempt.
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

// --db, else the environment's MOEHILL_DB, else ./moehill.sqlite.
std::string database_path(const std::string& option);

}  // namespace moehill
