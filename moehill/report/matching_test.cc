// Tests of matching two sets of results: which pairs belong together, which may be judged, and what counts as
// a regression.
#include "moehill/report/matching.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <set>

#include "moehill/base/error.h"
#include "moehill/report/matching_report.h"
#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

class MatchingTest : public ::testing::Test {
 protected:
  TemporaryFolder folder_;
  // Makes a record of process `id` that began at second `started`.
  static StoredJson record(const std::string& id, double started, double seconds) {
    StoredJson json = block_record("none", 2, seconds);
    json["process"] = {{"id", id}, {"started_s", started}};
    json["time_s"]["samples"] = {seconds, 0.999 * seconds, 1.001 * seconds};
    return json;
  }
  std::string write(const std::string& name, const std::vector<StoredJson>& records) {
    std::ofstream file(folder_.file(name));
    for (const StoredJson& json : records) file << json_text(json) << "\n";
    return folder_.file(name);
  }
  // Writes processes of both modes at top-k 2 and 8 that differ by 1 %; `none` and `ep` are seconds.
  std::string write_runs(const std::string& name, double none, double ep, const std::string& backend,
                         int num_processes = 5) {
    std::vector<StoredJson> records;
    for (int process = 0; process < num_processes; ++process) {
      for (const int64_t topk : {2, 8}) {
        for (const std::string mode : {"none", "ep"}) {
          const double seconds = (mode == "ep" ? ep : none) * (1 + 0.005 * (process % 3));
          records.push_back(record(name + std::to_string(process), process, seconds));
          records.back()["config"] = block_config(mode, topk);
          records.back()["config"]["backend"] = backend;
        }
      }
    }
    return write(name, records);
  }
  static Matching match(const std::string& a, const std::string& b) {
    return match_results(read_results(a), read_results(b));
  }
};

// A database may hold any JSON. Here the config of a record is no object, so its path cannot be added to it.
TEST_F(MatchingTest, ARecordOfADatabaseMayHaveAnotherFormOfConfig) {
  const std::string path = folder_.file("a.sqlite");
  {
    Store store = Store::open_or_create(path);
    fill_replayed(store, replayed_experiment());
  }
  Database(path, Access::read_write)
      .execute("UPDATE record SET json = json_set(json, '$.config', 5, '$.path', 'ref_dp')");
  EXPECT_NO_THROW(match(path + ":ep_vs_none", path + ":ep_vs_none"));
}

TEST_F(MatchingTest, SamplesThatAreNoTimesGiveNoFigure) {
  const std::string good = write("good", {record("a", 0, 1.0)});
  for (const double sample : {0.0, -1.0}) {
    StoredJson bad = record("b", 0, 1.0);
    bad["time_s"]["samples"][1] = sample;
    const Matching matching = match(good, write("bad", {bad}));
    EXPECT_TRUE(matching.pairs.empty()) << sample;
    ASSERT_EQ(matching.missing.size(), 1u) << sample;
    EXPECT_EQ(matching.missing[0].why, "it was not timed");
  }
}

TEST_F(MatchingTest, WhatIsComparedIsNoOutput) {
  const std::string a = write_runs("a", 1.0, 1.0, "gmm"), b = write_runs("b", 1.0, 1.0, "gmm");
  for (const std::string& source : {a, a + "," + b, b + "," + a, a + ":experiment/point=1"})
    EXPECT_THROW(refuse_source_as_output({source, "other"}, "--json", a), InputError) << source;
  EXPECT_NO_THROW(refuse_source_as_output({a, b}, "--json", folder_.file("c")));
  EXPECT_NO_THROW(refuse_source_as_output({a, b}, "--json", "-"));
  EXPECT_NO_THROW(refuse_source_as_output({a, b}, "--json", ""));
}

TEST_F(MatchingTest, FilesMatchByOptionsButForWhatTellsThemApart) {
  const Matching matching = match(write_runs("a", 1.0, 1.0, "gmm"), write_runs("b", 1.0, 1.2, "ragged_dot"));
  EXPECT_EQ(matching.differing, std::vector<std::string>{"backend"});
  ASSERT_EQ(matching.pairs.size(), 4u);
  EXPECT_FALSE(matching.pairs[0].ratio.paired);
  EXPECT_EQ(matching.pairs[0].ratio.n, 5);
  EXPECT_EQ(matching.pairs[0].verdict, Verdict::within_noise);
  EXPECT_EQ(matching.pairs[1].verdict, Verdict::slower);
  EXPECT_EQ(regressions(matching, 0.03).size(), 2u);
  EXPECT_TRUE(regressions(matching, 0.3).empty());
  EXPECT_TRUE(unjudged(matching).empty());
  const StoredJson json = pair_json(matching.pairs[1]);
  EXPECT_EQ(json["coverage"], 0.95);
  EXPECT_LT(json["ci_hi"], 1);
}

TEST_F(MatchingTest, ResultsThatWouldTakeHoursAreRefused) {
  const TemporaryFolder folder;
  const auto num_results = [&](int num_records) {
    const std::string path = folder.file("many.jsonl");
    std::ofstream file(path);
    for (int i = 0; i < num_records; ++i) file << fmt::format("{{\"config\": {{\"tokens\": {}}}}}\n", i);
    file.close();
    return read_results(path).results.size();
  };
  EXPECT_EQ(num_results(100), 100u);
  EXPECT_THROW(num_results(2049), InputError);
}

TEST_F(MatchingTest, MoreProcessesThanASweepHasRoundsAreRefused) {
  const auto num_processes = [&](int num_records) {
    const std::string path = folder_.file("many.jsonl");
    std::ofstream file(path);
    for (int i = 0; i < num_records; ++i)
      file << fmt::format(R"({{"config": {{}}, "tflops": 1.0, "check": {{"status": "passed"}}, )"
                          R"("time_s": {{"median": 1.0, "samples": [1.0]}}, "process": {{"id": "{}"}}}})"
                          "\n",
                          i);
    file.close();
    return read_results(path).results.at(0).processes.size();
  };
  EXPECT_EQ(num_processes(10000), 10000u);
  EXPECT_THROW(num_processes(10001), InputError);
}

// This holds for any number of samples and any distance between them.
TEST_F(MatchingTest, FewerThanFiveProcessesASideCannotBeTold) {
  const Matching matching = match(write_runs("a", 1.0, 1.0, "gmm", 5), write_runs("b", 10.0, 10.0, "gmm", 4));
  ASSERT_EQ(matching.pairs.size(), 4u);
  EXPECT_EQ(matching.pairs[0].verdict, Verdict::cannot_tell);
  EXPECT_TRUE(pair_json(matching.pairs[0])["ci_lo"].is_null());
  EXPECT_NE(matching_table(matching).find("cannot tell: 4 processes, at least 5 needed (not interleaved)"),
            std::string::npos)
      << matching_table(matching);
  EXPECT_TRUE(regressions(matching, 0).empty());
  EXPECT_EQ(unjudged(matching).size(), 4u);
  EXPECT_NE(remedy_of(matching).find("moehill bench"), std::string::npos);
}

// A file of --ablate also has records of steps that left stages out.
TEST_F(MatchingTest, AblatedRecordsAreNoResultsAndNoneOfThemHasAThroughput) {
  StoredJson whole = record("1", 1, 1), arm = record("1", 1, 0.5);
  arm["ablated"] = {"shared"};
  arm["tflops"] = nullptr;
  const ResultSet set = read_results(write("a", {whole, arm}));
  ASSERT_EQ(set.results.size(), 1u);
  EXPECT_EQ(set.num_ablated, 1);
  EXPECT_NE(notes_of(set).find("left stages out"), std::string::npos);
  arm["tflops"] = 7;
  EXPECT_THROW(read_results(write("smuggled", {whole, arm})), InputError);
  EXPECT_THROW(read_results(write("smuggled", {arm})), InputError);
}

// A file may have been written or changed by anybody.
TEST_F(MatchingTest, AThroughputWithoutAPassedCheckIsRefused) {
  const StoredJson good = record("p", 0, 1.0);
  for (const char* status : {"failed", "off", "mistrusted"}) {
    StoredJson bad = record("q", 1, 0.5);
    bad["check"]["status"] = status;
    const std::string path = write("bad", {good, bad});
    try {
      read_results(path);
      ADD_FAILURE() << status;
    } catch (const InputError& error) {
      EXPECT_NE(std::string(error.what()).find(std::string("its check is ") + status), std::string::npos)
          << error.what();
    }
  }
  StoredJson without = record("q", 1, 0.5);
  without.erase("check");
  const Matching matching = match(write("a", {good}), write("b", {without}));
  EXPECT_TRUE(matching.pairs.empty());
  ASSERT_EQ(matching.missing.size(), 1u);
  EXPECT_EQ(matching.missing[0].why, "it has no check");
}

TEST_F(MatchingTest, RecordsOfADatabaseHaveNoFigureWithoutAPassedCheck) {
  const std::string path = folder_.file("a.sqlite");
  {
    Store store = Store::open_or_create(path);
    fill_replayed(store, replayed_experiment());
  }
  EXPECT_FALSE(read_results(path).results.at(0).processes.empty());
  Database(path, Access::read_write)
      .execute("UPDATE record SET json = json_set(json, '$.check.status', 'off')");
  const ResultSet set = read_results(path);
  for (const ComparedResult& result : set.results) {
    EXPECT_TRUE(result.processes.empty()) << result.label;
    EXPECT_EQ(result.why_missing, "its check is off") << result.label;
  }
}

TEST_F(MatchingTest, AResultIsDescribedByARecordWithAFigure) {
  StoredJson failed = record("p", 0, 1.0), passed = record("q", 1, 1.0);
  failed["tflops"] = nullptr;
  failed["check"]["status"] = "failed";
  const ResultSet set = read_results(write("a", {failed, passed}));
  ASSERT_EQ(set.results.size(), 1u);
  EXPECT_EQ(set.results[0].record, passed);
  EXPECT_EQ(read_results(write("b", {failed})).results[0].record, failed);
}

TEST_F(MatchingTest, ARecordGivenTwiceIsNoSecondProcess) {
  const std::string a = write_runs("a", 1.0, 1.0, "gmm"), few = write_runs("b", 2.0, 2.0, "gmm", 3);
  EXPECT_EQ(match(a, few + "," + few).pairs[0].ratio.n, 3);
  EXPECT_EQ(read_results(few + "," + few).num_repeated, 12);
  const ResultSet both = read_results(few + "," + write_runs("c", 2.0, 2.0, "gmm", 3));
  EXPECT_EQ(both.results[0].processes.size(), 6u);
  EXPECT_EQ(both.num_repeated, 0);
}

// Records of one command may differ in an option that usual labels do not have, and paths of profile.
TEST_F(MatchingTest, NoTwoResultsHaveOneName) {
  std::vector<StoredJson> records = {record("p", 0, 1.0), record("p", 0, 2.0), record("p", 0, 3.0),
                                     record("p", 0, 4.0)};
  records[1]["config"]["tokens"] = 512;
  records[2]["path"] = "ref_dp";
  records[3]["path"] = "staged_dp";
  std::set<std::string> labels;
  for (const ComparedResult& result : read_results(write("a", records)).results) labels.insert(result.label);
  EXPECT_EQ(labels.size(), 4u);
  const std::string junit = matching_junit(match(write("a", records), write("b", records)), 0);
  EXPECT_NE(junit.find("tokens=512\""), std::string::npos) << junit;
}

TEST_F(MatchingTest, APairNamesTheCommandThatMeasuresItAgain) {
  const StoredJson before = record("a", 0, 1.0);
  StoredJson after = record("b", 0, 1.0);
  EXPECT_TRUE(pair_json(match(write("a", {before}), write("b", {after})).pairs.at(0))["repro"].is_null());
  after["repro"] = "moehill bench --topk 2";
  const Matching matching = match(write("a", {before}), write("b", {after}));
  EXPECT_EQ(pair_json(matching.pairs.at(0))["repro"], "moehill bench --topk 2");
  EXPECT_NE(matching_junit(matching, 0).find("<property name=\"repro\" value=\"moehill bench --topk 2\"/>"),
            std::string::npos);
}

TEST_F(MatchingTest, ResultsOfSeveralExperimentsAreNamedWithTheirExperiment) {
  const std::string path = folder_.file("a.sqlite");
  {
    Store store = Store::open_or_create(path);
    fill_replayed(store, replayed_experiment());
    EXPECT_EQ(read_results(path).results.at(0).label, "parallel_mode=none topk=2");
    StoredExperiment other = replayed_experiment();
    other.name = "other";
    fill_replayed(store, other);
  }
  std::set<std::string> labels;
  const ResultSet all = read_results(path);
  for (const ComparedResult& result : all.results) labels.insert(result.label);
  EXPECT_EQ(labels.size(), all.results.size());
  EXPECT_TRUE(labels.contains("other: parallel_mode=none topk=2"));
  EXPECT_EQ(read_results(path + ":other").results.at(0).label, "parallel_mode=none topk=2");
}

// The file of a trace may have been replaced between two runs of equal options.
TEST_F(MatchingTest, AnotherRoutingOfEqualOptionsIsAnotherResultAndSaid) {
  std::vector<StoredJson> before, after;
  for (int i = 0; i < 6; ++i) {
    before.push_back(record("a" + std::to_string(i), i, 1 + 0.001 * i));
    after.push_back(record("b" + std::to_string(i), i, 2 + 0.001 * i));
    after.back()["hash"]["plan"] = "of another file";
  }
  const std::string a = write("a", before), b = write("b", after);
  const Matching matching = match(a, b);
  ASSERT_EQ(matching.pairs.size(), 1u);
  EXPECT_EQ(matching.pairs[0].unlike, std::vector<std::string>{"plan"});
  EXPECT_NE(matching_table(matching).find("the same options and another routing"), std::string::npos)
      << matching_table(matching);
  const ResultSet both = read_results(b + "," + a);
  ASSERT_EQ(both.results.size(), 2u) << "unlike work is not one median";
  const Matching own = match_results(read_results(a), both);
  ASSERT_EQ(own.pairs.size(), 1u);
  EXPECT_TRUE(own.pairs[0].unlike.empty()) << "the result of the same work is there as well";
  EXPECT_EQ(own.only_b.size(), 1u);
  // The first result of `a` must not take the partner of the second.
  const Matching newer = match_results(read_results(a + "," + b), read_results(b));
  ASSERT_EQ(newer.pairs.size(), 1u);
  EXPECT_TRUE(newer.pairs[0].unlike.empty());
  EXPECT_EQ(newer.pairs[0].ratio.ratio, 1);
  EXPECT_EQ(newer.only_a.size(), 1u);
}

TEST_F(MatchingTest, NothingBehindRecordsIsIgnored) {
  const std::string a = write_runs("a", 1.0, 1.0, "gmm");
  EXPECT_FALSE(read_results(a).results.empty());
  for (const std::string& source : {a + ":nonsense", a + ":", a + ",", "," + a, a + ",," + a, std::string()})
    EXPECT_THROW(read_results(source), InputError) << source;
}

TEST_F(MatchingTest, WhatStandsOnBothSidesCountsForNeither) {
  std::vector<StoredJson> old, more;
  for (int i = 0; i < 6; ++i) old.push_back(record("old" + std::to_string(i), i, 1.0 + 0.01 * i));
  more = old;
  for (int i = 0; i < 3; ++i) more.push_back(record("new" + std::to_string(i), 10 + i, 10.0));
  const Matching matching = match(write("a", old), write("b", more));
  EXPECT_EQ(matching.pairs[0].verdict, Verdict::cannot_tell);
  EXPECT_EQ(matching.pairs[0].ratio.n, 0);
}

TEST_F(MatchingTest, MachinesAndBuildsThatDifferAreSaid) {
  std::vector<StoredJson> before, after;
  for (int i = 0; i < 6; ++i) {
    before.push_back(record("a" + std::to_string(i), i, 1 + 0.001 * i));
    after.push_back(record("b" + std::to_string(i), i, 1 + 0.001 * i));
  }
  const std::string a = write("a", before);
  const Matching same = match(a, write("b", after));
  EXPECT_TRUE(same.unlike.empty() && same.pairs[0].unlike.empty());
  EXPECT_FALSE(same.pairs[0].of_several_machines());
  EXPECT_EQ(pair_json(same.pairs[0])["unlike"], StoredJson::array());

  after[2]["env"]["build"] = "b2";
  const Matching rebuilt = match(a, write("b", after));
  EXPECT_EQ(rebuilt.pairs[0].unlike, std::vector<std::string>{"build"});
  EXPECT_EQ(rebuilt.unlike, std::vector<std::string>{"build: A has b; B has b and b2"});
  EXPECT_FALSE(rebuilt.pairs[0].of_several_machines()) << "builds are what a gate compares";
  EXPECT_NE(matching_table(rebuilt).find("not of one machine and build: build"), std::string::npos);

  // The terminal says AVX-512; records keep Highway's name, AVX3.
  after[2]["env"] = before[2]["env"];
  after[2]["env"]["kernel"] = "AVX3";
  const Matching other_target = match(a, write("b", after));
  EXPECT_EQ(other_target.pairs[0].unlike, std::vector<std::string>{"kernel"});
  EXPECT_EQ(other_target.unlike, std::vector<std::string>{"SIMD target: A has AVX2; B has AVX-512 and AVX2"});
  after[2]["env"] = before[2]["env"];

  for (const char* name : {"cpu", "cores", "host"}) {
    std::vector<StoredJson> moved = after, known = before;
    for (StoredJson& json : known) json["env"]["host"] = "one";
    moved[2]["env"] = known[2]["env"];
    moved[2]["env"][name] = 7;
    const Matching matching = match(write("a", known), write("b", moved));
    EXPECT_EQ(matching.pairs[0].unlike, std::vector<std::string>{name});
    EXPECT_EQ(matching.pairs[0].of_several_machines(), name != std::string("host")) << name;
    MatchedPair in_turn = matching.pairs[0];
    in_turn.ratio.paired = true;
    EXPECT_FALSE(in_turn.of_several_machines()) << "each round was on one machine";
  }
}

// Bench measures none and ep in the same processes, even if each record is in a file of its own.
TEST_F(MatchingTest, WhatTheSameProcessesMeasuredIsPaired) {
  std::vector<StoredJson> none, ep;
  for (int i = 0; i < 3; ++i) {
    const double drift = 1 + i;  // of the machine
    none.push_back(record("p" + std::to_string(i), i, drift));
    ep.push_back(record("p" + std::to_string(i), i, 0.8 * drift));
    ep.back()["config"] = block_config("ep", 2);
  }
  const Matching by_process = match(write("a", none), write("b", ep));
  ASSERT_EQ(by_process.pairs.size(), 1u);
  EXPECT_TRUE(by_process.pairs[0].ratio.paired);
  EXPECT_EQ(by_process.pairs[0].ratio.n, 3);
  EXPECT_EQ(by_process.pairs[0].verdict, Verdict::faster);
  const Matching by_sample = match(write("a", {none[0]}), write("b", {ep[0]}));
  EXPECT_EQ(by_sample.pairs[0].ratio.n, 3);
  EXPECT_EQ(by_sample.pairs[0].verdict, Verdict::faster);
}

// Older records do not name their process. Two such records of the same second count as one process.
TEST_F(MatchingTest, WithoutANameAProcessIsASecond) {
  std::vector<StoredJson> a, b;
  for (int i = 0; i < 6; ++i) {
    for (std::vector<StoredJson>* side : {&a, &b}) {
      side->push_back(record("", 0, 1.0 + 0.01 * i));
      side->back().erase("process");
      side->back()["time_utc"] = (side == &a ? "a" : "b") + std::to_string(i / 2);
    }
  }
  EXPECT_EQ(match(write("a", a), write("b", b)).pairs[0].ratio.n, 3);
}

TEST_F(MatchingTest, WhatTheNewSetLacksIsARegression) {
  const ResultSet a = read_results(write_runs("a", 1.0, 1.0, "gmm"));
  ResultSet b = a;
  b.results[0].processes = {};
  b.results[0].why_missing = "its check is failed";
  b.results.pop_back();
  EXPECT_EQ(regressions(match_results(a, b), 0.5).size(), 2u);
  EXPECT_TRUE(regressions(match_results(b, a), 0.5).empty());
  EXPECT_EQ(unjudged(match_results(b, a)).size(), 1u) << "the baseline has no figure";
}

TEST_F(MatchingTest, OneFailedCheckOfManyIsARegression) {
  std::vector<StoredJson> before, after;
  for (int i = 0; i < 6; ++i) {
    before.push_back(record("a" + std::to_string(i), i, 1 + 0.001 * i));
    after.push_back(record("b" + std::to_string(i), i, 1 + 0.001 * i));
  }
  after[3]["check"]["status"] = "failed";
  after[3]["tflops"] = nullptr;
  const Matching matching = match(write("a", before), write("b", after));
  ASSERT_EQ(matching.pairs.size(), 1u);
  EXPECT_EQ(matching.pairs[0].ratio.n, 5);
  ASSERT_EQ(regressions(matching, 0.5).size(), 1u);
  EXPECT_NE(regressions(matching, 0.5)[0].find("its check is failed"), std::string::npos);
}

TEST_F(MatchingTest, AnUncheckedResultIsNotJudgedAndItSaysSo) {
  StoredJson checked = record("p", 0, 1.0), unchecked = record("q", 1, 0.1);
  unchecked["check"]["status"] = "off";
  unchecked["tflops"] = nullptr;
  const std::string a = write("a", {checked}), b = write("b", {unchecked});
  for (const Matching& matching : {match(a, b), match(b, a), match(b, b)}) {
    EXPECT_TRUE(matching.pairs.empty());
    ASSERT_EQ(matching.missing.size(), 1u);
    EXPECT_NE(matching_table(matching).find(", its check is off"), std::string::npos)
        << matching_table(matching);
    EXPECT_TRUE(regressions(matching, 0).empty());
    EXPECT_EQ(unjudged(matching).size(), 1u);
  }
}

TEST_F(MatchingTest, PointsOfOneExperimentArePaired) {
  const std::string path = folder_.file("a.sqlite");
  Store store = Store::open_or_create(path);
  fill_replayed(store, replayed_experiment());
  const ResultSet a = read_results(path + ":ep_vs_none/parallel_mode=none topk=2");
  const ResultSet b = read_results(path + ":ep_vs_none/parallel_mode=ep topk=2");
  const Matching matching = match_results(a, b);
  ASSERT_EQ(matching.pairs.size(), 1u);
  EXPECT_TRUE(matching.pairs[0].ratio.paired);
  EXPECT_EQ(matching.pairs[0].ratio.n, 8);
  EXPECT_EQ(matching.pairs[0].verdict, Verdict::slower);
  EXPECT_EQ(match_results(a, a).pairs[0].verdict, Verdict::identical);
  EXPECT_THROW(read_results(path + ":nothing"), InputError);
  EXPECT_THROW(read_results(folder_.file("none.jsonl")), InputError);
  for (const char* end : {":", ":/", ":ep_vs_none/"})
    EXPECT_THROW(read_results(path + end), InputError) << end;
  try {
    read_results(std::filesystem::path(path).parent_path().string());
    ADD_FAILURE() << "accepted";
  } catch (const InputError& error) {
    EXPECT_NE(std::string(error.what()).find("(a folder)"), std::string::npos) << error.what();
  }
}

}  // namespace
}  // namespace moehill
