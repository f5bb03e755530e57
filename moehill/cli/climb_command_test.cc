// Tests of `moehill climb`: what it refuses, what it lists, and that bench uses what it kept.
#include "moehill/cli/command_fixture.h"
#include "moehill/store/results.h"

namespace moehill {
namespace {

class ClimbCommand : public CommandFixture {
 protected:
  ClimbCommand() : CommandFixture("climb") {}
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

TEST_F(ClimbCommand, ADryRunListsTheArmsAndRunsNothing) {
  EXPECT_EQ(run(shape_ + "--dry-run"), 0) << read("err");
  for (const char* part : {"impl=fast", "ep fused 2 devices x 1 thread", "backend=ragged_dot"})
    EXPECT_NE(read("out").find(part), std::string::npos) << part << "\n" << read("out");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/moehill.sqlite"));
}

// Only one axis is open, so that the climb ends soon; all other options are given.
TEST_F(ClimbCommand, TheWinnerIsKeptAndBenchTakesIt) {
  const std::string environment = "MOEHILL_CLIMBED=" + folder_ + "/climbed.json";
  const std::string bench = "bench --iters 2 " + shape_ + "--climbed";
  EXPECT_EQ(run_program(place_.path(), bench, environment).status, 2) << "nobody has climbed it";
  const std::string given =
      "--impl fast --parallel-mode none --remat-mode none --blocks bt=288 --routing-pack-strategy "
      "counting_sort";
  const Outcome climbed =
      run_program(place_.path(), "climb " + shape_ + given + " --budget 15s --worth 50%", environment);
  EXPECT_EQ(climbed.status, 0) << climbed.err;
  EXPECT_NE(climbed.out.find("winner: moehill bench"), std::string::npos) << climbed.out;
  const Outcome taken = run_program(place_.path(), bench, environment);
  EXPECT_EQ(taken.status, 0) << taken.err;
  EXPECT_NE(taken.out.find("climbed: "), std::string::npos) << taken.out;
  EXPECT_NE(taken.out.find("fast"), std::string::npos) << taken.out;
  EXPECT_EQ(run_program(place_.path(), bench + " --impl scatter", environment).status, 2)
      << "it is the climb's to choose";
  StoredJson table = StoredJson::parse(read("climbed.json"));
  for (StoredJson& entry : table["entries"]) entry["options"]["json"] = "written";
  write("climbed.json", table.dump());
  const Outcome hostile = run_program(place_.path(), bench, environment);
  EXPECT_EQ(hostile.status, 2);
  EXPECT_NE(hostile.err.find("the option 'json'"), std::string::npos) << hostile.err;
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/written"));
  EXPECT_NE(run_program(place_.path(), "logbook").out.find("moehill climb"), std::string::npos)
      << "each move is an entry";
}

}  // namespace
}  // namespace moehill
