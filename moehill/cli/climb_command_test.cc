// Tests of `moehill climb`: what it refuses, what it lists, and that bench uses the winner that it kept.
#include <fmt/format.h>
#include <signal.h>

#include <algorithm>
#include <chrono>
#include <exception>
#include <iterator>
#include <map>
#include <thread>

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

  // Returns how many results the database has; 0 if there is none yet.
  int64_t num_results() const {
    if (!std::filesystem::exists(folder_ + "/moehill.sqlite")) return 0;
    int64_t num = 0;
    try {
      Store store = Store::open_existing(folder_ + "/moehill.sqlite");
      for (const StoredExperiment& move : store.experiments())
        for (const StoredPoint& point : store.points(move.id)) num += std::ssize(store.records(point.id));
    } catch (const std::exception&) {  // it is being made
    }
    return num;
  }
  // Waits for something that another process does.
  template <typename Condition>
  static bool comes_true(const Condition& condition) {
    constexpr int kLongest_s = 200;
    for (int i = 0; i < 20 * kLongest_s && !condition(); ++i)
      std::this_thread::sleep_for(std::chrono::milliseconds(50));
    return condition();
  }

  const std::string shape_ =
      "--tokens 32 --hidden 32 --mlp-dim 32 --experts 4 --topk 1 --shared-expert-dim 0 ";
};

TEST_F(ClimbCommand, RefusesWhatItCannotClimbAndLeavesNothing) {
  for (const char* more :
       {"--topk-list 1,2", "--json r.jsonl", "--check off", "--checked r.jsonl", "--worth 2", "--budget 5",
        "--tokens auto", "--memory 1K", "--table off", "missing.toml"}) {
    EXPECT_EQ(run(more + std::string(more[0] == 'm' ? "" : " " + shape_)), 2) << more;
    EXPECT_FALSE(std::filesystem::exists(folder_ + "/moehill.sqlite")) << more;
  }
  EXPECT_EQ(run("'' " + shape_), 2);
}

TEST_F(ClimbCommand, ARefusalNamesTheOptionAsItIsWritten) {
  EXPECT_EQ(run(shape_ + "--trace-dir t"), 2);
  EXPECT_NE(read("err").find("--trace-dir cannot be used with climb"), std::string::npos) << read("err");
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
  EXPECT_EQ(run(shape_ + "--dry-run --db climb.sqlite"), 2);
  EXPECT_NE(read("err").find("--db cannot be used with --dry-run"), std::string::npos) << read("err");
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

TEST_F(ClimbCommand, AFileHasOneProblemWhoseAxesAClimbMoves) {
  const std::string fixed =
      "title = 't'\n[fixed]\ntokens = 32\nhidden = 32\nmlp_dim = 32\nexperts = 4\nshared_expert_dim = 0\n";
  write("one.toml", fixed + "topk = 1\n[axes]\nimpl = ['baseline', 'fast']\n");
  write("two.toml", fixed + "[axes]\ntopk = [1, 2]\n");
  write("ranks.toml", "launcher = 'mpirun -n {devices}'\n" + fixed + "topk = 1\n");
  EXPECT_EQ(run("one.toml --dry-run"), 0) << read("err");
  EXPECT_NE(read("out").find("impl=fast"), std::string::npos) << read("out");
  EXPECT_EQ(run("two.toml --dry-run"), 2);
  EXPECT_NE(read("err").find("two.toml:9:1: got the axis 'topk'"), std::string::npos) << read("err");
  EXPECT_EQ(run("two.toml --topk 2 --dry-run"), 0) << read("err");
  EXPECT_EQ(run("ranks.toml --dry-run"), 2);
  EXPECT_NE(read("err").find("ranks.toml: got a launcher"), std::string::npos) << read("err");
}

// The trace's name has a blank, which the command that goes on has to quote.
TEST_F(ClimbCommand, AClimbThatIsEndedGoesOnByTheCommandThatItPrints) {
  std::string choices = "[0]";
  for (int token = 1; token < 32; ++token) choices += fmt::format(",[{}]", token % 4);
  write("a trace.jsonl", R"({"step":0,"layer":0,"rank":0,"topk":1,"top_indices":[)" + choices + "]}\n");
  const std::string given =
      "--distribution 'trace:a trace.jsonl' --parallel-mode none --remat-mode none --blocks bt=288 "
      "--routing-pack-strategy counting_sort --impl fast --iters 9 --min-time 0 --budget 4m --worth 50%";
  const std::string script = "cd " + folder_ + " && { " MOEHILL_BINARY " climb " + shape_ + given +
                             " >out 2>err </dev/null & echo $! >pid; wait $!; echo $? >status; } &";
  ASSERT_EQ(std::system(script.c_str()), 0);
  ASSERT_TRUE(comes_true([&] { return num_results() > 0; })) << read("err");
  ASSERT_EQ(kill(static_cast<pid_t>(std::stol(read("pid"))), SIGTERM), 0);
  ASSERT_TRUE(comes_true([&] { return !read("status").empty(); }));
  EXPECT_EQ(read("status"), "75\n") << read("out") << read("err");
  const std::string text = read("out"), words = "interrupted; go on with: moehill ";
  const size_t begin = text.find(words);
  ASSERT_NE(begin, std::string::npos) << text;
  const size_t first = begin + words.size();
  const int64_t results = num_results();
  const Outcome outcome = run_program(folder_, text.substr(first, text.find('\n', first) - first));
  EXPECT_EQ(outcome.status, 0) << outcome.err;
  EXPECT_NE(outcome.out.find("winner: moehill bench "), std::string::npos) << outcome.out;
  EXPECT_NE(outcome.out.find("'trace:a trace.jsonl'"), std::string::npos) << outcome.out;
  EXPECT_GT(num_results(), results);
}

TEST_F(ClimbCommand, BenchNeedsItsTokensToLookUpTheWinner) {
  const Outcome outcome = run_program(place_.path(), "bench --tokens auto --climbed");
  EXPECT_EQ(outcome.status, 2);
  EXPECT_NE(outcome.err.find("--tokens auto cannot be used with --climbed"), std::string::npos)
      << outcome.err;
}

}  // namespace
}  // namespace moehill
