// Tests of `moehill climb`: what it refuses, what it lists, and that bench uses the winner that it kept.
#include <algorithm>
#include <iterator>
#include <map>

#include "moehill/cli/command_fixture.h"
#include "moehill/store/results.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

class ClimbCommand : public CommandFixture {
 protected:
  ClimbCommand() : CommandFixture("climb") {}
  // Expects that all arms of a round of a move were measured by one process.
  void expect_rounds_of_one_process() const {
    Store store = Store::open_existing(folder_ + "/moehill.sqlite");
    size_t num_shared = 0;
    for (const StoredExperiment& move : store.experiments()) {
      if (move.name.find("-total-") != std::string::npos) continue;
      std::map<int64_t, std::vector<std::string>> processes;  // by round
      for (const StoredPoint& point : store.points(move.id))
        for (const StoredRecord& record : store.records(point.id))
          processes[record.round].push_back(record.json["process"]["id"].get<std::string>());
      for (const auto& [round, ids] : processes) {
        EXPECT_EQ(std::count(ids.begin(), ids.end(), ids[0]), std::ssize(ids)) << "round " << round;
        num_shared += ids.size() > 1 ? 1 : 0;
      }
    }
    EXPECT_GE(num_shared, 1u);
  }

  const std::string shape_ =
      "--tokens 32 --hidden 32 --mlp-dim 32 --experts 4 --topk 1 --shared-expert-dim 0 ";
};

TEST_F(ClimbCommand, RefusesWhatItCannotClimbAndLeavesNothing) {
  for (const char* more : {"--topk-list 1,2", "--json r.jsonl", "--check off", "--worth 2", "--budget 5",
                           "--tokens auto", "--memory 1K", "--table off", "missing.toml"}) {
    EXPECT_EQ(run(more + std::string(more[0] == 'm' ? "" : " " + shape_)), 2) << more;
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/moehill.sqlite")) << more;
  }
}

TEST_F(ClimbCommand, ATableThatCannotBeKeptIsRefusedBeforeAnythingRuns) {
  write("other.json", "{}");
  for (const char* table : {"/dev/full", "other.json", "other.json/climbed.json", "."}) {
    const Outcome outcome =
        run_program(place_.path(), "climb " + shape_, std::string("MOEHILL_CLIMBED=") + table);
    EXPECT_EQ(outcome.status, 2) << table << "\n" << outcome.err;
    EXPECT_NE(outcome.err.find("CLIMBED"), std::string::npos) << outcome.err;
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/moehill.sqlite")) << table;
  }
  EXPECT_EQ(read("other.json"), "{}");
}

TEST_F(ClimbCommand, ADryRunListsTheArmsAndRunsNothing) {
  EXPECT_EQ(run(shape_ + "--dry-run"), 0) << read("err");
  for (const char* part : {"impl=fast", "ep fused 2 devices x 1 thread", "backend=ragged_dot"})
    EXPECT_NE(read("out").find(part), std::string::npos) << part << "\n" << read("out");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/moehill.sqlite"));
}

TEST_F(ClimbCommand, ARunIsShortIfTheOptionsDoNotSayHowLong) {
  EXPECT_EQ(run(shape_ + "--dry-run"), 0) << read("err");
  EXPECT_NE(read("out").find("5 steps of each arm at least, and 0.02 s of steps"), std::string::npos)
      << read("out");
  EXPECT_EQ(run(shape_ + "--iters 2 --min-time 0.3 --dry-run"), 0) << read("err");
  EXPECT_NE(read("out").find("2 steps of each arm at least, and 0.3 s of steps"), std::string::npos)
      << read("out");
}

// Only one axis is open, so that the climb ends soon; all other options are given.
TEST_F(ClimbCommand, TheWinnerIsKeptAndBenchTakesItWithTheOptionsThatWereGiven) {
  const std::string environment = "MOEHILL_CLIMBED=" + folder_ + "/climbed.json";
  const std::string given =
      "--parallel-mode none --remat-mode none --blocks bt=288 --routing-pack-strategy counting_sort ";
  const std::string bench = "bench --iters 2 --min-time 0 " + shape_ + "--climbed ";
  EXPECT_EQ(run_program(place_.path(), bench + given + "--impl fast", environment).status, 2)
      << "nobody has climbed it";
  const Outcome climbed = run_program(
      place_.path(), "climb " + shape_ + given + "--impl fast --iters 9 --min-time 0 --budget 4m --worth 50%",
      environment);
  EXPECT_EQ(climbed.status, 0) << climbed.err;
  for (const char* part : {"winner: moehill bench", "kept in "})
    EXPECT_NE(climbed.out.find(part), std::string::npos) << part << "\n" << climbed.out;
  expect_rounds_of_one_process();
  const Outcome taken = run_program(place_.path(), bench + "--impl fast " + given, environment);
  EXPECT_EQ(taken.status, 0) << taken.err;
  EXPECT_NE(taken.out.find("climbed: "), std::string::npos) << taken.out;
  for (const std::string& others : {given + "--impl scatter", std::string()})
    EXPECT_EQ(run_program(place_.path(), bench + others, environment).status, 2)
        << "a climb with these may find another winner: " << others;
  StoredJson table = StoredJson::parse(read("climbed.json"));
  for (StoredJson& entry : table["entries"]) entry["options"]["json"] = "written";
  write("climbed.json", table.dump());
  const Outcome hostile = run_program(place_.path(), bench + "--impl fast " + given, environment);
  EXPECT_EQ(hostile.status, 2);
  EXPECT_NE(hostile.err.find("the option 'json'"), std::string::npos) << hostile.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/written"));
  EXPECT_NE(run_program(place_.path(), "logbook").out.find("moehill climb"), std::string::npos)
      << "each move is an entry";
}

TEST_F(ClimbCommand, BenchNeedsItsTokensToLookUpTheWinner) {
  const Outcome outcome = run_program(place_.path(), "bench --tokens auto --climbed");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("--tokens auto cannot be used with --climbed"), std::string::npos)
      << outcome.err;
}

}  // namespace
}  // namespace moehill
