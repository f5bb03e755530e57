// Implementation of store/schema.h: the tables, how a new database is set up, and which existing databases
// are refused.
#include "moehill/store/schema.h"

#include <fmt/format.h>
#include <sys/vfs.h>

#include <algorithm>
#include <chrono>
#include <filesystem>
#include <map>
#include <thread>
#include <vector>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"

namespace moehill {
namespace {

// The database checks columns that hold JSON. It keeps text byte for byte as a file said it; text is bound to
// statements and never becomes part of SQL.
constexpr const char* kTables = R"sql(
CREATE TABLE experiment(
  id INTEGER PRIMARY KEY,
  name TEXT NOT NULL UNIQUE,
  title TEXT NOT NULL,
  hypothesis TEXT NOT NULL,
  expect TEXT NOT NULL CHECK(json_type(expect) = 'array'),
  next_action TEXT NOT NULL,
  baseline TEXT NOT NULL CHECK(json_type(baseline) = 'object'),
  command TEXT NOT NULL CHECK(command IN ('bench', 'profile')),
  launcher TEXT NOT NULL,
  reference_section TEXT NOT NULL,
  reference_defect TEXT NOT NULL,
  rounds INTEGER NOT NULL CHECK(rounds > 0),
  retries INTEGER NOT NULL CHECK(retries >= 0),
  timeout_s REAL NOT NULL,
  toml TEXT NOT NULL,
  sizing TEXT NOT NULL CHECK(json_type(sizing) = 'object'),
  options_note TEXT NOT NULL,
  created_utc TEXT NOT NULL) STRICT;

CREATE TABLE point(
  id INTEGER PRIMARY KEY,
  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE,
  identity TEXT NOT NULL,
  position INTEGER NOT NULL,
  label TEXT NOT NULL,
  options TEXT NOT NULL CHECK(json_type(options) = 'object'),
  axes TEXT NOT NULL CHECK(json_type(axes) = 'object'),
  arguments TEXT NOT NULL CHECK(json_type(arguments) = 'array'),
  state TEXT NOT NULL CHECK(state IN ('pending', 'running', 'done', 'failed', 'timeout', 'out_of_memory', 'rank_lost',
                                      'interrupted')),
  is_baseline INTEGER NOT NULL CHECK(is_baseline IN (0, 1)),
  is_current INTEGER NOT NULL CHECK(is_current IN (0, 1)),
  predicted_seconds REAL,
  predicted_bytes REAL,
  UNIQUE(experiment_id, identity)) STRICT;

CREATE TABLE provenance(
  id INTEGER PRIMARY KEY,
  json TEXT NOT NULL UNIQUE CHECK(json_type(json) = 'object')) STRICT;

CREATE TABLE attempt(
  id INTEGER PRIMARY KEY,
  point_id INTEGER NOT NULL REFERENCES point(id) ON DELETE CASCADE,
  round INTEGER NOT NULL,
  state TEXT NOT NULL CHECK(state IN ('running', 'done', 'failed', 'timeout', 'out_of_memory', 'rank_lost', 'interrupted')),
  counts INTEGER NOT NULL CHECK(counts IN (0, 1)),
  forgiven INTEGER NOT NULL DEFAULT 0 CHECK(forgiven IN (0, 1)),
  started_utc TEXT NOT NULL,
  seconds REAL,
  exit_status INTEGER,
  output_tail TEXT NOT NULL DEFAULT '',
  disturbed INTEGER NOT NULL DEFAULT 0 CHECK(disturbed IN (0, 1)),
  disturbance TEXT NOT NULL DEFAULT '',
  provenance_id INTEGER NOT NULL REFERENCES provenance(id),
  owner_host TEXT NOT NULL,
  owner_boot TEXT NOT NULL,
  owner_pid INTEGER NOT NULL,
  owner_start_ticks INTEGER NOT NULL,
  deadline_epoch REAL NOT NULL) STRICT;
CREATE UNIQUE INDEX attempt_counts_once ON attempt(point_id, round) WHERE counts = 1;
CREATE UNIQUE INDEX attempt_runs_once ON attempt(point_id, round) WHERE state = 'running';
CREATE INDEX attempt_of_point ON attempt(point_id, round);

CREATE TABLE record(
  id INTEGER PRIMARY KEY,
  attempt_id INTEGER NOT NULL REFERENCES attempt(id) ON DELETE CASCADE,
  point_id INTEGER NOT NULL REFERENCES point(id) ON DELETE CASCADE,
  round INTEGER NOT NULL,
  seq INTEGER NOT NULL,
  json TEXT NOT NULL CHECK(json_type(json) = 'object'),
  UNIQUE(attempt_id, seq)) STRICT;
CREATE INDEX record_of_point ON record(point_id, round, seq);

CREATE TABLE sample(
  record_id INTEGER NOT NULL REFERENCES record(id) ON DELETE CASCADE,
  idx INTEGER NOT NULL,
  seconds REAL NOT NULL,
  PRIMARY KEY(record_id, idx)) STRICT, WITHOUT ROWID;

CREATE TABLE note(
  id INTEGER PRIMARY KEY,
  experiment_id INTEGER NOT NULL REFERENCES experiment(id) ON DELETE CASCADE,
  time_utc TEXT NOT NULL,
  text TEXT NOT NULL) STRICT;

CREATE TABLE noise_floor(
  id INTEGER PRIMARY KEY,
  time_utc TEXT NOT NULL,
  machine TEXT NOT NULL,
  build TEXT NOT NULL,
  rounds INTEGER NOT NULL,
  floor REAL NOT NULL,
  json TEXT NOT NULL CHECK(json_type(json) = 'object')) STRICT;
)sql";

// The views are for people and scripts that read the database with SQL. docs/decisions.md says what their
// columns mean.
constexpr const char* kViews = R"sql(
CREATE VIEW result AS
SELECT e.name AS experiment, p.label AS label, r.round AS round, r.seq AS seq, a.disturbed AS disturbed,
       r.json ->> '$.path' AS path,
       r.json ->> '$.check.status' AS check_status,
       r.json ->> '$.time_s.median' AS median_seconds,
       r.json ->> '$.tflops' AS tflops,
       r.json ->> '$.tokens_per_s' AS tokens_per_s,
       p.axes AS axes, r.id AS record_id, p.id AS point_id
FROM record r JOIN attempt a ON a.id = r.attempt_id JOIN point p ON p.id = r.point_id
     JOIN experiment e ON e.id = p.experiment_id
WHERE a.counts = 1 AND p.is_current = 1
ORDER BY e.id, p.position, r.round, r.seq;

CREATE VIEW timing AS
SELECT v.experiment, v.label, v.path, v.round, v.disturbed, s.idx, s.seconds
FROM result v JOIN sample s ON s.record_id = v.record_id;

CREATE VIEW progress AS
SELECT e.name AS experiment, p.state AS state, count(*) AS points
FROM point p JOIN experiment e ON e.id = p.experiment_id
WHERE p.is_current = 1
GROUP BY e.id, p.state;

CREATE VIEW failure AS
SELECT e.name AS experiment, p.label AS label, a.round AS round, a.state AS state, a.exit_status AS exit_status,
       a.started_utc AS started_utc, a.output_tail AS output_tail
FROM attempt a JOIN point p ON p.id = a.point_id JOIN experiment e ON e.id = p.experiment_id
WHERE a.state NOT IN ('running', 'done')
ORDER BY a.id;
)sql";

// Magic numbers of network file systems, from statfs(2): NFS, SMB, CIFS, SMB2, FUSE, Lustre, 9P, Ceph, AFS,
// GPFS, BeeGFS.
constexpr int64_t kNetworkFileSystems[] = {0x6969,     0x517B,     0xFF534D42, 0xFE534D42,
                                           0x65735546, 0x0BD00BD0, 0x01021997, 0x00C36400,
                                           0x5346414F, 0x47504653, 0x19830326};

// Returns true if the file is on a network file system, where a write-ahead log does not work.
bool on_network(const std::string& path) {
  const std::filesystem::path folder = behind_links(path).parent_path();
  struct statfs system {};
  // If the system does not say, the safe answer is "on a network".
  if (statfs(folder.c_str(), &system) != 0) return true;
  const int64_t type = static_cast<int64_t>(system.f_type) & 0xFFFFFFFF;
  return std::find(std::begin(kNetworkFileSystems), std::end(kNetworkFileSystems), type) !=
         std::end(kNetworkFileSystems);
}

// Returns the number that a pragma gives; 0 if it gives none.
int64_t pragma(Database& database, const std::string& name) {
  Statement statement(database, "PRAGMA " + name);
  return statement.step() ? statement.integer(0) : 0;
}

// The number of attempts to set the mode; together they take half a minute.
constexpr int kModeAttempts = 3000;
constexpr std::chrono::milliseconds kModePause{10};

// To change the mode SQLite needs the file for itself, and it does not wait for that. Two sweeps may start at
// once, so this function tries again.
void set_journal_mode(Database& database) {
  const std::string mode = on_network(database.path()) ? "DELETE" : "WAL";
  for (int attempt = 1;; ++attempt) {
    try {
      return Statement(database, "PRAGMA journal_mode = " + mode).run();
    } catch (const StoreBusy&) {
      if (attempt == kModeAttempts) throw;
      std::this_thread::sleep_for(kModePause);
    }
  }
}

bool is_empty(Database& database) {
  Statement statement(database, "SELECT count(*) FROM sqlite_master");
  return statement.step() && statement.integer(0) == 0;
}

// Refuses databases of other programs and of other versions.
void refuse_strangers(Database& database) {
  const int64_t application = pragma(database, "application_id"), version = pragma(database, "user_version");
  if (application != kApplicationId) {
    throw input_error("--db", quoted(database.path(), 200), "a database of moehill",
                      "name another file; this one belongs to another program");
  }
  if (version != kSchemaVersion) {
    throw input_error("--db", fmt::format("{}, version {}", quoted(database.path(), 200), version),
                      fmt::format("version {}", kSchemaVersion),
                      "use the moehill that wrote it, or another file");
  }
}

// Makers maps "table note" and "index record_of_point" to the statement that makes it, and "table note's
// indexes" to their number.
using Makers = std::map<std::string, std::string>;

std::vector<std::string> tables_of(Database& database) {
  Statement rows(database, "SELECT name FROM sqlite_master WHERE type = 'table'");
  std::vector<std::string> tables;
  while (rows.step()) tables.push_back(rows.text(0));
  return tables;
}

Makers makers_of(Database& database, const std::vector<std::string>& tables) {
  Statement rows(
      database,
      "SELECT type, name, sql FROM sqlite_master WHERE type IN ('table', 'index') AND sql IS NOT NULL");
  Makers makers;
  while (rows.step()) makers[rows.text(0) + " " + rows.text(1)] = rows.text(2);
  for (const std::string& table : tables) {
    Statement indexes(database, "SELECT count(*) FROM pragma_index_list(?)");
    if (indexes.bind(table).step())
      makers["table " + table + "'s indexes"] = std::to_string(indexes.integer(0));
  }
  return makers;
}

// OwnTables says what a database of this program has. It is read from a database in memory that kTables made,
// so the two cannot disagree.
struct OwnTables {
  std::vector<std::string> names;
  Makers makers;
};

const OwnTables& own_tables() {
  static const OwnTables own = [] {
    Database database("", Access::in_memory);
    database.execute(kTables);
    const std::vector<std::string> names = tables_of(database);
    return OwnTables{names, makers_of(database, names)};
  }();
  return own;
}

[[noreturn]] void refuse_tables(const Database& database, const std::string& got) {
  throw input_error("--db", quoted(database.path(), 200) + ": " + got, "the tables that moehill sweep makes",
                    kDamagedRemedy);
}

// Refuses a file whose tables are not ours, before anything is read: a table may be missing, be a view that
// never ends, or have a check or an index that takes hours, since both may call SQLite's functions.
void refuse_other_tables(Database& database) {
  const Makers found = makers_of(database, own_tables().names);
  for (const auto& [name, maker] : own_tables().makers) {
    const auto same = found.find(name);
    if (same == found.end()) refuse_tables(database, "no " + name);
    if (same->second != maker) refuse_tables(database, "another " + name);
  }
}

// Refuses damaged pages and values. Tables that somebody else has put into the file are not looked at, since
// their checks may take hours.
void refuse_damaged_tables(Database& database) {
  for (const std::string& table : own_tables().names) {
    try {
      Statement check(database, fmt::format("PRAGMA quick_check({})", table));
      if (check.step() && check.text(0) != "ok")
        refuse_tables(database, "damaged: " + quoted(check.text(0), 120));
    } catch (const StoreBusy&) {
      throw;  // another process holds the database, which says nothing of its tables
    } catch (const StoreError& error) {
      // A value can be so wrong that the check of its column fails, which is damage too.
      refuse_tables(database, "damaged: " + quoted(error.what(), 200));
    }
  }
}

}  // namespace

void prepare_database(Database& database, Access access) {
  database.execute("PRAGMA foreign_keys = ON");
  if (access == Access::read_only || !is_empty(database)) {
    refuse_strangers(database);
    refuse_other_tables(database);
    refuse_damaged_tables(database);
  }
  if (access == Access::read_only) return;
  set_journal_mode(database);
  // FULL synchronises each transaction, so that a stored result survives a loss of power.
  database.execute("PRAGMA synchronous = FULL");
  Transaction transaction(database);
  // The question is asked again under the lock, since two sweeps may start at once.
  if (is_empty(database)) {
    database.execute(kTables);
    database.execute(kViews);
    database.execute(
        fmt::format("PRAGMA application_id = {}; PRAGMA user_version = {}", kApplicationId, kSchemaVersion));
  }
  transaction.commit();
}

}  // namespace moehill
