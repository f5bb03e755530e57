// Tests of the results database: it refuses files that are no database of moehill, keeps text as text, and
// its views show the results that count.
#include "moehill/store/store.h"

#include <gtest/gtest.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

#include <cstdio>
#include <fstream>

#include "moehill/base/error.h"
#include "moehill/store/schema.h"
#include "moehill/store/store_fixture.h"

namespace moehill {
namespace {

int64_t pragma(Database& database, const std::string& name) {
  Statement statement(database, "PRAGMA " + name);
  return statement.step() ? statement.integer(0) : -1;
}

int64_t count(const std::string& path, const std::string& from) {
  Database database(path, Access::read_only);
  Statement statement(database, "SELECT count(*) FROM " + from);
  return statement.step() ? statement.integer(0) : -1;
}

TEST(Store, SaysWhatItIsAndSurvivesReopening) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  for (int i = 0; i < 2; ++i) Store::open_or_create(path);
  Database database(path, Access::read_write);
  prepare_database(database, Access::read_write);
  EXPECT_EQ(pragma(database, "application_id"), kApplicationId);
  EXPECT_EQ(pragma(database, "user_version"), kSchemaVersion);
  EXPECT_EQ(pragma(database, "synchronous"), 2);
  EXPECT_EQ(pragma(database, "foreign_keys"), 1);
  Statement mode(database, "PRAGMA journal_mode");
  ASSERT_TRUE(mode.step());
  EXPECT_EQ(mode.text(0), "wal");
  Statement not_strict(database,
                       "SELECT count(*) FROM pragma_table_list WHERE type = 'table' AND strict = 0 AND name "
                       "NOT LIKE 'sqlite_%'");
  ASSERT_TRUE(not_strict.step());
  EXPECT_EQ(not_strict.integer(0), 0);
}

TEST(Store, IsNoStandardOutput) {
  EXPECT_THROW(database_path("-"), InputError);
  EXPECT_EQ(database_path("./-"), "./-");
}

TEST(Store, RefusesStrangersAndTheMissing) {
  const TemporaryFolder folder;
  EXPECT_THROW(Store::open_existing(folder.file("none.sqlite")), InputError);
  EXPECT_FALSE(std::filesystem::exists(folder.file("none.sqlite")));
  EXPECT_THROW(Store::open_or_create(folder.file("no/folder.sqlite")), InputError);
  std::ofstream(folder.file("text.sqlite")) << std::string(4096, 'x');
  EXPECT_THROW(Store::open_or_create(folder.file("text.sqlite")), InputError);
  EXPECT_THROW(Store::open_existing(folder.file("text.sqlite")), InputError);
  Database(folder.file("other.sqlite"), Access::read_write).execute("CREATE TABLE t(a)");
  EXPECT_THROW(Store::open_or_create(folder.file("other.sqlite")), InputError);
  Store::open_or_create(folder.file("newer.sqlite"));
  Database(folder.file("newer.sqlite"), Access::read_write).execute("PRAGMA user_version = 999");
  EXPECT_THROW(Store::open_existing(folder.file("newer.sqlite")), InputError);
}

TEST(Store, RefusesAFileOfALaterFormat) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  { Store::open_or_create(path); }
  std::fstream file(path, std::ios::in | std::ios::out | std::ios::binary);
  file.seekp(47);  // the last byte of the schema's format in the header
  file.put(5);
  file.close();
  EXPECT_THROW(Store::open_existing(path), InputError);
  EXPECT_THROW(Store::open_or_create(path), InputError);
}

TEST(Store, RefusesTablesThatAreNotOurs) {
  const TemporaryFolder folder;
  const std::vector<std::pair<std::string, std::string>> changes = {
      {"DROP TABLE note", "no table note"},
      {"ALTER TABLE note DROP COLUMN text", "another table note"},
      {"DROP INDEX record_of_point", "no index record_of_point"},
      {"CREATE INDEX slow ON note(hex(text))", "another table note's indexes"},
      // A check like this may take hours for each row, and no limit of time interrupts a function.
      {"DROP TABLE note; CREATE TABLE note(id INTEGER PRIMARY KEY, experiment_id INTEGER NOT NULL REFERENCES "
       "experiment(id) ON DELETE CASCADE, time_utc TEXT NOT NULL, text TEXT NOT NULL CHECK(length(hex(text)) "
       ">= 0)) STRICT",
       "another table note"},
      {"DROP TABLE note; CREATE VIEW note AS WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) "
       "SELECT i AS id, i AS experiment_id, 'x' AS time_utc, 'y' AS text FROM r",
       "no table note"}};
  for (const auto& [change, reason] : changes) {
    const std::string path = folder.file(std::to_string(reason.size() + change.size()) + ".sqlite");
    Store::open_or_create(path);
    Database(path, Access::read_write).execute(change);
    for (const bool only_read : {true, false}) {
      try {
        only_read ? Store::open_existing(path) : Store::open_or_create(path);
        ADD_FAILURE() << change;
      } catch (const InputError& error) {
        EXPECT_NE(std::string(error.what()).find(reason), std::string::npos) << error.what();
      }
    }
  }
}

TEST(Store, TheChecksOfOtherTablesAreNotRun) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  { Store::open_or_create(path); }
  Database(path, Access::read_write)
      .execute(
          "CREATE TABLE other(a TEXT CHECK(length(a) < 0)); PRAGMA ignore_check_constraints = ON; "
          "INSERT INTO other VALUES('x')");
  EXPECT_TRUE(Store::open_existing(path).experiments().empty());
}

// Opens a database with a small experiment and one result, after it was changed.
Store changed_store(const std::string& path, const std::string& change) {
  {
    Store store = Store::open_or_create(path);
    Journal journal(store, this_process(), StoredJson::object());
    std::vector<StoredPoint> points = two_points();
    journal.save_plan(small_experiment(1, 0), points);
    journal.finish(journal.claim(points[0].id, 0, 60).claim, done_in(1));
  }
  Database(path, Access::read_write).execute(change);
  return Store::open_existing(path);
}

TEST(Store, RefusesRoundsThatNoSweepHas) {
  const TemporaryFolder folder;
  Store good = changed_store(folder.file("good.sqlite"), "UPDATE experiment SET rounds = 10000");
  EXPECT_EQ(good.experiments().at(0).rounds, 10000);
  for (const std::string rounds : {"10001", "1000000000", "1000000000000000000"}) {
    Store store = changed_store(folder.file(rounds + ".sqlite"), "UPDATE experiment SET rounds = " + rounds);
    EXPECT_THROW(store.experiments(), InputError) << rounds;
    EXPECT_THROW(store.find_experiment("small"), InputError) << rounds;
  }
}

TEST(Store, RefusesARunOfARoundThatNoSweepHas) {
  const TemporaryFolder folder;
  for (const std::string round : {"-1", "10000", "9223372036854775807"}) {
    for (const std::string table : {"attempt", "record"}) {
      Store store =
          changed_store(folder.file(table + round + ".sqlite"), "UPDATE " + table + " SET round = " + round);
      const int64_t experiment = store.experiments().at(0).id, point = store.points(experiment).at(0).id;
      const auto read = [&] {
        table == "attempt" ? (void)store.attempts(point) : (void)store.records(point);
      };
      EXPECT_THROW(read(), InputError) << table << " " << round;
    }
  }
}

TEST(Store, RefusesSamplesThatAreNoArray) {
  const TemporaryFolder folder;
  for (const std::string samples : {"{}", "5", "\"x\""}) {
    Store store =
        changed_store(folder.file(std::to_string(samples.size()) + ".sqlite"),
                      "UPDATE record SET json = json_set(json, '$.time_s.samples', json('" + samples + "'))");
    const int64_t experiment = store.experiments().at(0).id, point = store.points(experiment).at(0).id;
    EXPECT_THROW(store.records(point), InputError) << samples;
  }
}

TEST(Store, RefusesJsonThatIsNone) {
  const TemporaryFolder folder;
  const std::string deep = "{\"a\":" + std::string(5000, '[') + std::string(5000, ']') + "}";
  for (const std::string& json : {std::string("{"), std::string("[]"), std::string("5"), deep}) {
    const std::string path = folder.file(std::to_string(json.size()) + json.substr(0, 1) + ".sqlite");
    { Store::open_or_create(path); }
    {
      Database database(path, Access::read_write);
      database.execute("PRAGMA ignore_check_constraints = ON");
      Statement(database,
                "INSERT INTO noise_floor(time_utc, machine, build, rounds, floor, json) VALUES('', '', '', "
                "3, 0.1, ?)")
          .bind(json)
          .run();
    }
    EXPECT_THROW(Store::open_existing(path).noise_floors(), InputError) << json.substr(0, 10);
  }
}

TEST(Store, WhatIsNoFileIsNoDatabase) {
  for (const std::string path : {":memory:", "", "/dev/full", "/dev"})
    EXPECT_THROW(Store::open_or_create(path), InputError) << path;
}

// To open a pipe waits for its writer.
TEST(Store, APipeBesideADatabaseIsRefusedAtOnce) {
  for (const char* ending : {"-journal", "-wal", "-shm"}) {
    const TemporaryFolder folder;
    const std::string path = folder.file("a.sqlite");
    { Store::open_or_create(path); }
    ASSERT_EQ(mkfifo((path + ending).c_str(), 0600), 0);
    // SQLite's files lie beside the database itself, and not beside a link to it.
    std::filesystem::create_symlink("a.sqlite", folder.file("link.sqlite"));
    for (const std::string& name : {path, folder.file("link.sqlite")}) {
      EXPECT_THROW(Store::open_existing(name), InputError) << name << ending;
      EXPECT_THROW(Store::open_or_create(name), InputError) << name << ending;
    }
  }
}

TEST(Store, ReadingLeavesNoFileBehindAndNeedsNoFolderThatCanBeWritten) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a%20b?.sqlite");
  { Store::open_or_create(path); }
  { EXPECT_TRUE(Store::open_existing(path).experiments().empty()); }
  EXPECT_EQ(std::distance(std::filesystem::directory_iterator(folder.path()), {}), 1);
  Store reader = Store::open_existing(path);
  EXPECT_THROW(reader.add_note({}), std::exception);
}

// The tests may run as root, whom no folder refuses, so a child becomes somebody else.
TEST(Store, AFolderThatCannotBeWrittenCanBeRead) {
  namespace fs = std::filesystem;
  constexpr uid_t kNobody = 65534;
  constexpr int kCannotEnter = 77;
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  { Store::open_or_create(path); }
  fs::permissions(path, fs::perms{0444});
  fs::permissions(folder.path(), fs::perms{0555});
  const pid_t reader = fork();
  if (reader == 0) {
    int status = 1;
    try {
      const bool is_other = geteuid() != 0 || setuid(kNobody) == 0;
      if (!is_other || access(path.c_str(), R_OK) != 0) _exit(kCannotEnter);
      status = Store::open_existing(path).experiments().empty() ? 0 : 2;
    } catch (const std::exception& error) {
      std::fprintf(stderr, "%s\n", error.what());
    }
    _exit(status);
  }
  int status = -1;
  EXPECT_EQ(waitpid(reader, &status, 0), reader);
  fs::permissions(folder.path(), fs::perms{0755});
  if (WIFEXITED(status) && WEXITSTATUS(status) == kCannotEnter)
    GTEST_SKIP() << "nobody else can be made, or enter the folder of temporary files";
  EXPECT_EQ(status, 0);
}

TEST(Store, AFileHasItsWholeName) {
  const TemporaryFolder folder;
  const std::filesystem::path before = std::filesystem::current_path();
  std::filesystem::current_path(folder.path());
  const std::string name = "file:a.sqlite?mode=memory";
  { Store::open_or_create(name); }
  const bool is_kept = std::filesystem::is_regular_file(name);
  std::filesystem::current_path(before);
  EXPECT_TRUE(is_kept);
}

TEST(Store, ATriggerOfAFileDoesNothing) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  { Store::open_or_create(path); }
  Database(path, Access::read_write)
      .execute("CREATE TRIGGER t AFTER INSERT ON sample BEGIN DELETE FROM sample; END");
  Store store = Store::open_or_create(path);
  Journal journal(store, this_process(), StoredJson::object());
  std::vector<StoredPoint> points = two_points();
  journal.save_plan(small_experiment(1, 0), points);
  journal.finish(journal.claim(points[0].id, 0, 60).claim, done_in(1));
  EXPECT_EQ(count(path, "sample"), 2);
}

TEST(Store, AnEndlessStatementEnds) {
  Database database("", Access::in_memory);
  database.limit_statements(std::chrono::milliseconds(20));
  Statement statement(
      database,
      "WITH RECURSIVE r(i) AS (SELECT 1 UNION ALL SELECT i + 1 FROM r) SELECT i FROM r WHERE i < 0");
  EXPECT_THROW(statement.step(), InputError);
}

TEST(Store, TextFromFilesStaysText) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  Store store = Store::open_or_create(path);
  Journal journal(store, this_process(), {{"build", kHostileTitle}});
  std::vector<StoredPoint> points = two_points();
  points[0].label = kHostileTitle;
  points[0].axes = {{kHostileTitle, kHostileTitle}};
  StoredExperiment experiment = small_experiment(1, 0);
  experiment.name = kHostileTitle;
  experiment.expect = {kHostileTitle, std::string("nul\0inside", 10)};
  const int64_t id = journal.save_plan(experiment, points);
  store.add_note({0, id, "2026-01-01T00:00:00Z", kHostileTitle});

  const auto found = store.find_experiment(kHostileTitle);
  ASSERT_TRUE(found.has_value());
  EXPECT_EQ(found->title, kHostileTitle);
  EXPECT_EQ(found->expect, experiment.expect);
  EXPECT_EQ(store.points(id)[0].label, kHostileTitle);
  EXPECT_EQ(store.points(id)[0].axes, points[0].axes);
  EXPECT_EQ(store.notes(id)[0].text, kHostileTitle);
}

TEST(Store, ViewsShowWhatCounts) {
  const TemporaryFolder folder;
  const std::string path = folder.file("a.sqlite");
  Store store = Store::open_or_create(path);
  Journal journal(store, this_process(), StoredJson::object());
  std::vector<StoredPoint> points = two_points();
  const int64_t id = journal.save_plan(small_experiment(1, 0), points);
  AttemptResult disturbed = done_in(2);
  disturbed.disturbed = true;
  journal.finish(journal.claim(points[0].id, 0, 60).claim, disturbed);
  journal.finish(journal.claim(points[0].id, 0, 60).claim, done_in(1));
  EXPECT_EQ(count(path, "record"), 2);
  EXPECT_EQ(count(path, "result"), 1);
  EXPECT_EQ(count(path, "result WHERE disturbed = 0 AND median_seconds = 1.0"), 1);
  EXPECT_EQ(count(path, "timing"), 2);
  EXPECT_EQ(count(path, "progress"), 2);  // one point done, one pending
  ASSERT_EQ(store.records(points[0].id).size(), 1u);
  EXPECT_EQ(store.records(points[0].id)[0].json["time_s"]["median"], 1.0);
  EXPECT_EQ(store.points(id).size(), 2u);
  EXPECT_EQ(Store::open_existing(path).experiments().size(), 1u);
}

TEST(Store, GivesBackAllThatASweepWrote) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  const StoredJson provenance = {{"build", "b"}};
  Journal journal(store, this_process(), provenance);
  StoredExperiment experiment = small_experiment(3, 2);
  experiment.hypothesis = "hypothesis";
  experiment.next_action = "next";
  experiment.command = "profile";
  experiment.launcher = "env";
  experiment.reference_section = "section";
  experiment.reference_defect = "defect";
  experiment.timeout_s = 7.5;
  experiment.toml = "toml";
  experiment.sizing = {{"factor", 0.5}};
  experiment.options_note = "note";
  std::vector<StoredPoint> points = two_points();
  points[0].options = {{"topk", 2}};
  points[0].predicted_seconds = 1.5;
  points[0].predicted_bytes = 2.5;
  const int64_t id = journal.save_plan(experiment, points);
  AttemptResult result = done_in(4);
  result.exit_status = 3;
  result.output_tail = "tail";
  result.disturbed = true;
  result.disturbance = "others";
  journal.finish(journal.claim(points[0].id, 2, 60).claim, result);

  EXPECT_EQ(store.find_experiment("small").value().id, id);
  const StoredExperiment e = store.experiments().at(0);
  EXPECT_EQ(e.id, id);
  EXPECT_EQ(e.name, "small");
  EXPECT_EQ(e.title, experiment.title);
  EXPECT_EQ(e.hypothesis, "hypothesis");
  EXPECT_EQ(e.expect, experiment.expect);
  EXPECT_EQ(e.next_action, "next");
  EXPECT_EQ(e.baseline, experiment.baseline);
  EXPECT_EQ(e.command, "profile");
  EXPECT_EQ(e.launcher, "env");
  EXPECT_EQ(e.reference_section, "section");
  EXPECT_EQ(e.reference_defect, "defect");
  EXPECT_EQ(e.rounds, 3);
  EXPECT_EQ(e.retries, 2);
  EXPECT_EQ(e.timeout_s, 7.5);
  EXPECT_EQ(e.toml, "toml");
  EXPECT_EQ(e.sizing, experiment.sizing);
  EXPECT_EQ(e.options_note, "note");
  EXPECT_EQ(e.created_utc.size(), std::string("2026-01-01T00:00:00Z").size());

  ASSERT_EQ(store.points(id).size(), 2u);
  for (size_t i = 0; i < 2; ++i) {
    const StoredPoint p = store.points(id)[i], &written = points[i];
    EXPECT_EQ(p.id, written.id);
    EXPECT_EQ(p.experiment_id, id);
    EXPECT_EQ(p.identity, written.identity);
    EXPECT_EQ(p.position, written.position);
    EXPECT_EQ(p.label, written.label);
    EXPECT_EQ(p.options, written.options);
    EXPECT_EQ(p.axes, written.axes);
    EXPECT_EQ(p.arguments, written.arguments);
    EXPECT_EQ(p.state, RunState::pending);
    EXPECT_EQ(p.is_baseline, i == 0);
    EXPECT_TRUE(p.is_current);
    EXPECT_EQ(p.predicted_seconds, written.predicted_seconds);
    EXPECT_EQ(p.predicted_bytes, written.predicted_bytes);
  }

  ASSERT_EQ(store.attempts(points[0].id).size(), 1u);
  const StoredAttempt a = store.attempts(points[0].id)[0];
  EXPECT_EQ(a.point_id, points[0].id);
  EXPECT_EQ(a.round, 2);
  EXPECT_EQ(a.state, RunState::done);
  EXPECT_TRUE(a.counts);
  EXPECT_EQ(a.started_utc.size(), e.created_utc.size());
  EXPECT_EQ(a.seconds, 4);
  EXPECT_EQ(a.exit_status, 3);
  EXPECT_EQ(a.output_tail, "tail");
  EXPECT_TRUE(a.disturbed);
  EXPECT_EQ(a.disturbance, "others");
  EXPECT_EQ(store.provenance(a.provenance_id), provenance);

  ASSERT_EQ(store.records(points[0].id).size(), 1u);
  const StoredRecord record = store.records(points[0].id)[0];
  EXPECT_EQ(record.attempt_id, a.id);
  EXPECT_EQ(record.point_id, points[0].id);
  EXPECT_EQ(record.round, 2);
  EXPECT_EQ(record.seq, 0);
  EXPECT_TRUE(record.disturbed);
  EXPECT_EQ(record.json, small_record(4));
}

TEST(Store, KeepsNoiseFloors) {
  const TemporaryFolder folder;
  Store store = Store::open_or_create(folder.file("a.sqlite"));
  store.add_noise_floor({0, "2026-01-01T00:00:00Z", "cpu", "build", 20, 0.0125, {{"ci", {0.99, 1.01}}}});
  ASSERT_EQ(store.noise_floors().size(), 1u);
  EXPECT_EQ(store.noise_floors()[0].floor, 0.0125);
  EXPECT_EQ(store.noise_floors()[0].json["ci"][1], 1.01);
}

}  // namespace
}  // namespace moehill
