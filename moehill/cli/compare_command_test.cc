// Tests of `moehill compare`: the exit statuses on which a gate in CI relies, and the noise floor of two
// equal builds.
#include "moehill/cli/command_fixture.h"
#include "moehill/report/results_view.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

class CompareCommand : public CommandFixture {
 protected:
  CompareCommand() : CommandFixture("compare") {}

  // Writes processes of one point that take `factor` seconds and differ by 0.1 %.
  void write(const std::string& name, const std::string& build, double factor, int num_processes = 10,
             const char* check = "passed", const std::string& cpu = "") const {
    std::ofstream file(folder_ + "/" + name);
    for (int round = 0; round < num_processes; ++round) {
      const double seconds = factor * (1 + 0.001 * (round * 7 % 5));
      StoredJson record = {
          {"schema", "moehill/1"},
          {"config", {{"tokens", 64}, {"topk", 2}}},
          {"time_s", {{"median", seconds}, {"samples", {seconds}}}},
          {"process", {{"id", build + std::to_string(round)}}},
          {"tflops", check == std::string("passed") ? StoredJson(1 / seconds) : StoredJson(nullptr)},
          {"check", {{"status", check}}},
          {"hash", {{"plan", "p"}}},
          {"env", {{"cpu", "c"}, {"cores", 2}, {"kernel", "AVX2"}, {"build", build}}}};
      if (!cpu.empty()) record["env"]["cpu"] = cpu;
      file << json_text(record) << "\n";
    }
  }
  void write_on(const std::string& cpu, const std::string& name, const std::string& build,
                double factor) const {
    write(name, build, factor, 10, "passed", cpu);
  }
};

TEST_F(CompareCommand, ARegressionIsStatusFourAndTheTolerancePasses) {
  write("before.jsonl", "x", 1);
  write("after.jsonl", "y", 1.05);
  EXPECT_EQ(run("before.jsonl after.jsonl"), 0) << read("err");  // no gate without --baseline
  EXPECT_NE(read("out").find("slower"), std::string::npos) << read("out");
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl --tolerance 3% --not-interleaved"), 4);
  EXPECT_NE(read("err").find("regression: "), std::string::npos) << read("err");
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl --not-interleaved"), 4);
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl --tolerance 6% --not-interleaved"), 0) << read("err");
  EXPECT_EQ(run("before.jsonl --baseline after.jsonl --tolerance 3% --not-interleaved"), 0)
      << "faster is no regression";
  EXPECT_EQ(run("before.jsonl --baseline before.jsonl"), 0) << "nor is the same";
}

TEST_F(CompareCommand, JunitHasACaseAPairAndARegressionFails) {
  write("before.jsonl", "x", 1);
  write("after.jsonl", "y", 1.05);
  EXPECT_EQ(run("before.jsonl after.jsonl --junit c.xml"), 0) << read("err");
  EXPECT_NE(read("c.xml").find("tests=\"1\" failures=\"1\" errors=\"0\" skipped=\"0\""), std::string::npos)
      << read("c.xml");
  EXPECT_NE(read("c.xml").find("<property name=\"verdict\" value=\"slower\"/>"), std::string::npos);
  EXPECT_EQ(run("before.jsonl after.jsonl --junit c.xml --tolerance 6%"), 0) << read("err");
  EXPECT_NE(read("c.xml").find("failures=\"0\""), std::string::npos) << read("c.xml");
  EXPECT_EQ(run("before.jsonl after.jsonl --junit none/c.xml"), 2);
  const std::string before = read("before.jsonl");
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl --not-interleaved --junit ./before.jsonl"), 2);
  EXPECT_EQ(run("before.jsonl after.jsonl --junit after.jsonl"), 2);
  EXPECT_NE(read("err").find("--junit, results: got"), std::string::npos) << read("err");
  EXPECT_EQ(read("before.jsonl"), before);
}

TEST_F(CompareCommand, ResultsOfAnotherTimeGateNothingUnlessToldTo) {
  write("before.jsonl", "x", 1);
  write("after.jsonl", "y", 1.05);
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl"), 2);
  EXPECT_NE(read("err").find("compare --builds"), std::string::npos) << "the remedy: " << read("err");
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl --not-interleaved"), 4);
}

// A CPU that is 10 % faster would hide a regression of 10 %. --not-interleaved accepts another time, but no
// other machine.
TEST_F(CompareCommand, ResultsOfAnotherMachineGateNothing) {
  write_on("one", "before.jsonl", "x", 1);
  write_on("two", "after.jsonl", "y", 1);
  write_on("one", "same.jsonl", "y", 1.05);
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl --not-interleaved"), 2);
  EXPECT_NE(read("err").find("are not of one machine (cpu: A has one; B has two"), std::string::npos)
      << read("err");
  EXPECT_NE(read("err").find("compare --builds"), std::string::npos) << "the remedy: " << read("err");
  EXPECT_EQ(run("after.jsonl --baseline before.jsonl"), 2);
  EXPECT_EQ(run("after.jsonl,same.jsonl --baseline before.jsonl --not-interleaved"), 2)
      << "one side has several";
  EXPECT_EQ(run("same.jsonl --baseline before.jsonl --not-interleaved"), 4)
      << "another build is what it is for";
  EXPECT_EQ(run("before.jsonl after.jsonl --json out.jsonl"), 0) << read("err");
  EXPECT_NE(read("out").find("A and B are not of one machine and build: build: A has x; B has y"),
            std::string::npos)
      << read("out");
  EXPECT_EQ(StoredJson::parse(read("out.jsonl"))["unlike"], StoredJson::array({"cpu", "build"}));
}

// The other build is a script that prints the record of this build, edited to 589824 FLOPs in a nanosecond.
TEST_F(CompareCommand, TwoBuildsRunInTurnAndASlowerOneIsStatusFour) {
  const std::string options =
      " --tokens 32 --hidden 32 --mlp-dim 32 --experts 4 --topk 1 --shared-expert-dim 0 --iters 2";
  const auto edited = [&](const std::string& name, const std::string& edit) {
    const std::string script = "#!/bin/sh\n" MOEHILL_BINARY " \"$@\" | sed -E '" + edit + "'\n";
    CommandFixture::write(name, script);
    std::filesystem::permissions(folder_ + "/" + name, std::filesystem::perms::owner_all);
  };
  edited("faster", R"(s/("time_s":\{"median":)[^,]*/\11e-9/; s/("tflops":)[^,]*/\1589.824/)");
  edited("other", R"(s/"tokens":32/"tokens":64/)");
  EXPECT_EQ(run("--builds ./faster --rounds 6 --json out.jsonl" + options), 4) << read("err");
  EXPECT_NE(read("out").find("slower"), std::string::npos) << read("out");
  const StoredJson pair = StoredJson::parse(read("out.jsonl"));
  EXPECT_EQ(pair["n"], 6);
  EXPECT_TRUE(pair["paired"]);
  EXPECT_EQ(run("--builds ./other --json -" + options), 2);
  EXPECT_NE(read("err").find("--tokens: 64 in the other build, 32 in this one"), std::string::npos)
      << read("err");
  std::filesystem::create_symlink("loop", folder_ + "/loop");
  for (const char* arguments : {"--builds ./missing", "--builds ./loop", "--builds ./faster --topk many",
                                "--builds ./faster --dump d", "--builds ./faster --json faster",
                                "--builds ./faster --baseline a.jsonl", "a.jsonl b.jsonl --not-interleaved"})
    EXPECT_EQ(run(arguments), 2) << arguments << "\n" << read("err");
  for (const char* own : {"--builds ./faster --not-interleaved", "--builds ./faster --noise-floor",
                          "--builds ./faster --db a.sqlite"}) {
    EXPECT_EQ(run(own), 2) << own;
    EXPECT_NE(read("err").find("cannot be used with --"), std::string::npos)
        << "it is not taken for an option of bench: " << read("err");
  }
  EXPECT_EQ(run("a.jsonl b.jsonl --builds-of x"), 2);
  EXPECT_NE(read("err").find("unknown option"), std::string::npos) << read("err");
  // Later runs would get the option a second time.
  for (const char* mode : {"--builds ./faster --checked r.jsonl", "--noise-floor --point checked=r.jsonl"}) {
    EXPECT_EQ(run(mode), 2) << mode;
    EXPECT_NE(read("err").find("--checked cannot be used with --"), std::string::npos) << read("err");
  }
}

// A gate that cannot tell must not pass: ten times slower but with only two processes, or results without a
// check.
TEST_F(CompareCommand, AGateThatCannotTellIsStatusTwo) {
  write("before.jsonl", "x", 1);
  write("two.jsonl", "y", 10, 2);
  write("unchecked.jsonl", "z", 1, 10, "off");
  EXPECT_EQ(run("two.jsonl --baseline before.jsonl --json out.jsonl --not-interleaved"), 2);
  EXPECT_NE(read("err").find("cannot tell: 2 processes, at least 5 needed"), std::string::npos)
      << read("err");
  EXPECT_NE(read("err").find("moehill bench"), std::string::npos) << "the remedy: " << read("err");
  EXPECT_FALSE(std::filesystem::exists(folder_ + "/out.jsonl"));
  EXPECT_EQ(run("before.jsonl --baseline two.jsonl --not-interleaved"), 2);
  EXPECT_EQ(run("two.jsonl,two.jsonl --baseline before.jsonl --not-interleaved"), 2);
  EXPECT_NE(read("out").find("2 records are there more than once"), std::string::npos) << read("out");
  EXPECT_EQ(run("before.jsonl two.jsonl"), 0) << "no gate: " << read("err");
  EXPECT_NE(read("out").find("cannot tell"), std::string::npos) << read("out");
  for (const char* arguments : {"unchecked.jsonl --baseline before.jsonl",
                                "before.jsonl --baseline unchecked.jsonl", "before.jsonl unchecked.jsonl"}) {
    EXPECT_EQ(run(arguments), 2) << arguments;
    EXPECT_NE(read("err").find("its check is off"), std::string::npos) << read("err");
  }
}

TEST_F(CompareCommand, RefusesWhatDoesNotBelongTogether) {
  write("a.jsonl", "x", 1);
  for (const char* arguments :
       {"a.jsonl", "a.jsonl b.jsonl", "a.jsonl a.jsonl --tolerance 3%",
        "a.jsonl --baseline a.jsonl --tolerance 3", "a.jsonl a.jsonl --rounds 7", "--noise-floor a.jsonl",
        "--noise-floor --json -", "--noise-floor --rounds 5", "--noise-floor --point tokens=none"}) {
    EXPECT_EQ(run(arguments), 2) << arguments;
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/moehill.sqlite")) << arguments;
  }
}

TEST_F(CompareCommand, TheNoiseFloorOfAnAARunIsStored) {
  ASSERT_EQ(run("--noise-floor --rounds 6 --point 'tokens=32 hidden=32 mlp_dim=32 experts=4 topk=1 "
                "shared_expert_dim=0 iters=2'"),
            0)
      << read("err");
  Store store = Store::open_existing(folder_ + "/moehill.sqlite");
  const std::vector<StoredNoiseFloor> floors = store.noise_floors();
  ASSERT_EQ(floors.size(), 1u);
  EXPECT_GT(floors[0].floor, 0);
  EXPECT_EQ(floors[0].json["a"].size(), 6u);
  EXPECT_EQ(floors[0].json["b"].size(), 6u);
  EXPECT_NE(floors[0].machine.find("cores"), std::string::npos) << floors[0].machine;
  EXPECT_FALSE(is_floor_together(floors[0]));
}

TEST_F(CompareCommand, AnInterruptedNoiseFloorSaysSoAndLeavesNothing) {
  const Outcome outcome = run_program(
      folder_,
      "compare --noise-floor --rounds 10000 --point 'tokens=32 hidden=32 mlp_dim=32 experts=4 topk=1'",
      "timeout --preserve-status -s TERM 2");
  EXPECT_NE(outcome.err.find("interrupted"), std::string::npos) << outcome.err;
  EXPECT_NE(outcome.status, 0);
  for (const auto& entry : std::filesystem::directory_iterator(folder_))
    EXPECT_TRUE(entry.path().filename() == "out" || entry.path().filename() == "err") << entry.path();
}

TEST_F(CompareCommand, ANoiseFloorIsOfOnePoint) {
  for (const char* options : {"parallel_mode=both", "impl=all bench_pass=forward", "topk_list=1,2"}) {
    EXPECT_EQ(run(std::string("--noise-floor --together --rounds 6 --point '") + options + "'"), 2);
    EXPECT_NE(read("err").find("--point: got"), std::string::npos) << read("err");
    EXPECT_NE(read("err").find("allowed: one point"), std::string::npos) << read("err");
  }
}

TEST_F(CompareCommand, TheNoiseFloorOfOneProcessIsKeptApart) {
  ASSERT_EQ(
      run("--noise-floor --together --rounds 6 --point 'tokens=32 hidden=32 mlp_dim=32 experts=4 topk=1 "
          "shared_expert_dim=0 iters=2'"),
      0)
      << read("err");
  EXPECT_NE(read("out").find("twice in one process"), std::string::npos) << read("out");
  Store store = Store::open_existing(folder_ + "/moehill.sqlite");
  const std::vector<StoredNoiseFloor> floors = store.noise_floors();
  ASSERT_EQ(floors.size(), 1u);
  EXPECT_TRUE(is_floor_together(floors[0]));
  EXPECT_EQ(floors[0].json["b"].size(), 6u);
}

}  // namespace
}  // namespace moehill
