// Tests of `moehill sweep`: an experiment of four tiny points, from its file to its rows, and what the
// command refuses.
#include <array>
#include <map>
#include <set>

#include "moehill/cli/command_fixture.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

constexpr const char* kHostile = "</script><img src=x onerror=alert(1)>'; DROP TABLE runs;--";

class SweepCommand : public CommandFixture {
 protected:
  SweepCommand() : CommandFixture("sweep") {
    write("q.toml", std::string("title = \"") + kHostile + R"("
expect = ["ratio(parallel_mode = ep, parallel_mode = none) >= 1.0 at topk = 2"]
baseline = { parallel_mode = "none" }
[fixed]
tokens = 64
hidden = 64
mlp_dim = 32
experts = 4
shared_expert_dim = 0
iters = 2
[axes]
parallel_mode = ["none", "ep"]
topk = [1, 2]
[measure]
rounds = 2
)");
  }

  bool exists(const std::string& name) const { return std::filesystem::exists(folder_ + "/" + name); }
};

TEST_F(SweepCommand, FromTheFileToTheRowsAndNotTwice) {
  ASSERT_EQ(run("q.toml"), 0) << read("err");
  EXPECT_NE(read("out").find("4 of 4 points done, 0 failed"), std::string::npos) << read("out");
  Store store = Store::open_existing(folder_ + "/moehill.sqlite");
  const auto experiment = store.find_experiment("q");
  ASSERT_TRUE(experiment.has_value());
  EXPECT_EQ(experiment->title, kHostile);
  for (const StoredPoint& point : store.points(experiment->id)) {
    EXPECT_EQ(point.state, RunState::done);
    EXPECT_EQ(point.is_baseline, point.axes["parallel_mode"] == "none");
    const std::vector<StoredRecord> records = store.records(point.id);
    ASSERT_EQ(records.size(), 2u);  // one a round
    EXPECT_EQ(records[0].json["check"]["status"], "passed");
    EXPECT_EQ(records[0].json["time_s"]["n"], 2);
    StoredJson resolved =
        records[0].json["config"];  // as the run resolves it, but for the path that it chose
    if (point.axes["parallel_mode"] == "ep") resolved["ep_path"] = "auto";
    EXPECT_EQ(resolved, point.options);
    EXPECT_TRUE(store.provenance(store.attempts(point.id)[0].provenance_id).contains("compiler"));
  }
  ASSERT_EQ(run("q.toml --db moehill.sqlite"), 0);
  EXPECT_NE(read("out").find("0 runs now"), std::string::npos) << read("out");
}

TEST_F(SweepCommand, ARoundOfSeveralPathsIsOneProcess) {
  write("m.toml", R"(title = "paths"
[fixed]
tokens = 64
hidden = 64
mlp_dim = 32
experts = 4
topk = 2
shared_expert_dim = 32
iters = 2
[[zip]]
parallel_mode = ["none", "ep", "ep"]
ep_path = ["auto", "dense_masked", "auto"]
[measure]
rounds = 2
process = "round"
)");
  ASSERT_EQ(run("m.toml"), 0) << read("err");
  Store store = Store::open_existing(folder_ + "/moehill.sqlite");
  std::map<int64_t, std::set<std::string>> processes;  // by round
  for (const StoredPoint& point : store.points(store.find_experiment("m")->id)) {
    const std::vector<StoredRecord> records = store.records(point.id);
    EXPECT_EQ(records.size(), 2u) << point.label;
    for (const StoredRecord& record : records) {
      processes[record.round].insert(record.json["process"]["id"].get<std::string>());
      if (point.axes["ep_path"] == "dense_masked") {
        EXPECT_EQ(record.json["config"]["ep_path"], "dense_masked");
      }
    }
  }
  ASSERT_EQ(processes.size(), 2u);
  for (const auto& [round, ids] : processes) EXPECT_EQ(ids.size(), 1u) << "round " << round;
}

// The rebuilt program has the same build name, as after an edit without a new configuration. Only its content
// differs.
TEST_F(SweepCommand, ARebuiltProgramMeasuresAnewAndSaysSo) {
  write("r.toml", R"(title = "one point"
[fixed]
tokens = 32
hidden = 32
mlp_dim = 32
experts = 4
topk = 1
shared_expert_dim = 0
iters = 2
[measure]
rounds = 1
)");
  const std::string rebuilt = folder_ + "/rebuilt";
  std::filesystem::copy_file(MOEHILL_BINARY, rebuilt);
  std::ofstream(rebuilt, std::ios::binary | std::ios::app) << "edited";
  const auto runs_rebuilt = [&] {
    return std::system(("cd " + folder_ + " && ./rebuilt sweep r.toml >out 2>err </dev/null").c_str());
  };
  ASSERT_EQ(run("r.toml"), 0) << read("err");
  EXPECT_EQ(read("err").find("of another build"), std::string::npos) << read("err");
  ASSERT_EQ(runs_rebuilt(), 0) << read("err");
  EXPECT_NE(read("err").find("1 result in the database is of another build"), std::string::npos)
      << read("err");
  EXPECT_EQ(read("out").find(" 0 runs now"), std::string::npos) << read("out");
  ASSERT_EQ(runs_rebuilt(), 0) << read("err");
  EXPECT_EQ(read("err").find("of another build"), std::string::npos) << read("err");
  EXPECT_NE(read("out").find(" 0 runs now"), std::string::npos) << read("out");
  ASSERT_EQ(run("r.toml"), 0) << read("err");
  EXPECT_NE(read("out").find(" 0 runs now"), std::string::npos) << "the first build's result is kept";
}

TEST_F(SweepCommand, PathsOfProfileAreRowsOfTheirPoint) {
  write("p.toml", R"(title = "paths"
expect = ["ratio(path = fused_ep, path = staged_dp) >= 0.01"]
command = "profile"
[fixed]
tokens = 64
hidden = 64
mlp_dim = 32
experts = 4
staged_dp = true
iters = 2
[axes]
topk = [1, 2]
[measure]
rounds = 2
)");
  ASSERT_EQ(run("p.toml"), 0) << read("err");
  Store store = Store::open_existing(folder_ + "/moehill.sqlite");
  for (const StoredPoint& point : store.points(store.find_experiment("p")->id)) {
    const std::vector<StoredRecord> records = store.records(point.id);
    ASSERT_EQ(records.size(), 6u);  // three paths, two rounds
    for (size_t i = 0; i < 3; ++i)
      EXPECT_EQ(records[i].json["path"], (std::array{"ref_dp", "staged_dp", "fused_ep"})[i]);
    EXPECT_EQ(point.options["topk"], point.axes["topk"]);  // shared by the paths
    EXPECT_EQ(point.options["points"][2]["path"], "fused_ep");
    EXPECT_FALSE(point.options["points"][2].contains("topk"));
  }
  write("explain.toml", "title = 't'\ncommand = 'profile'\n[fixed]\nexplain_blocks = true\n");
  EXPECT_EQ(run("explain.toml"), 2);
}

TEST_F(SweepCommand, ADryRunStoresNothing) {
  ASSERT_EQ(run("q.toml --dry-run --scale 0.5"), 0) << read("err");
  EXPECT_NE(read("out").find("4 points, 2 rounds"), std::string::npos) << read("out");
  EXPECT_NE(read("out").find(" 32 "), std::string::npos) << read("out");  // tokens
  ASSERT_EQ(run("q.toml --dry-run --rounds 7"), 0) << read("err");
  EXPECT_NE(read("out").find("--rounds 7: the file has 2"), std::string::npos) << read("out");
  EXPECT_NE(read("out").find("4 points, 7 rounds"), std::string::npos) << read("out");
  EXPECT_FALSE(exists("moehill.sqlite"));
}

TEST_F(SweepCommand, BadInputIsOneLineStatusTwoAndNoDatabase) {
  write("unknown.toml", "title = 't'\n[fixed]\ntopkk = 2\n");
  write("value.toml", "title = 't'\n[fixed]\nexperts = 4\n[axes]\ntopk = [2, 9]\n");
  const auto refuses = [&](const std::string& arguments, const std::string& hint) {
    EXPECT_EQ(run(arguments), 2) << arguments;
    EXPECT_NE(read("err").find(hint), std::string::npos) << arguments << "\n" << read("err");
    EXPECT_FALSE(exists("moehill.sqlite")) << arguments;
  };
  refuses("unknown.toml", "unknown.toml:3:1: got unknown key 'topkk'");
  refuses("value.toml", "value.toml:5:1: point topk=9: --topk: got 9");
  refuses("none.toml", "none.toml");
  refuses("--dry-run", "no experiment file");
  refuses("q.toml --budget 5", "--budget");
  refuses("q.toml --scale 2", "--scale");
  refuses("q.toml --scale full --budget 5m", "--scale");
  refuses("q.toml --rounds 3 --budget 5m", "leave --rounds out");
  refuses("q.toml --db no/such/folder/a.sqlite", "--db");
}

}  // namespace
}  // namespace moehill
