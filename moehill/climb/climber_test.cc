// Tests of a climb whose program prints records of known speeds: what it finds and reports, that it keeps to
// its budget, and that it can be resumed.
#include "moehill/climb/climber.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <filesystem>
#include <fstream>
#include <map>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/climb/climb_report.h"
#include "moehill/store/expectation.h"
#include "moehill/store/store.h"

namespace moehill {
namespace {

class ClimberTest : public testing::Test {
 protected:
  // The script stands for `bench`, with 1 % of noise. Its fast impl is 12 % faster and its fused path 30 %
  // faster, but the path only 5 % together with the fast impl. Its recomputation fails the check, and its
  // ragged path needs too much memory. With the scatter impl it also writes the record of an ablated step,
  // which is a thousand times as fast and must not be taken for a result. A test may change what it does by
  // lines in a file.
  ClimberTest() {
    std::ofstream(program_) << R"(#!/bin/sh
echo "$*" >>)" + log_ + R"(
n=$(wc -l <)" + log_ + R"()
ms=1000 rss=1000 tflops=1
case "$*" in *"--remat-mode combine"*) exit 3;; esac
case "$*" in *"ragged_a2a"*) rss=9000 ms=500;; esac
case "$*" in *"--ep-path fused"*"--impl fast"*|*"--impl fast"*"--ep-path fused"*) ms=700;;
  *"--impl fast"*) ms=880;; *"--ep-path fused"*) ms=770;; esac
case "$*" in *"--impl scatter"*)
  echo '{"schema":"moehill/1","ablated":["up","down"],"tflops":1000,"check":{"status":"passed"},"time_s":{"median":0.001,"samples":[0.001]}}';; esac
lines=)" + lines_ + R"(
[ ! -f "$lines" ] || . "$lines"
awk -v ms=$ms -v n=$n -v rss=$rss -v tf=$tflops 'BEGIN { t = ms / 1000 * (1 + 0.01 * ((n * 7919) % 101 / 50 - 1))
  printf "{\"schema\":\"moehill/1\",\"check\":{\"status\":\"passed\"},\"tflops\":%d,\"time_s\":{\"median\":%f,\"samples\":[%f]},\"peak\":{\"fraction\":0.5}," \
    "\"memory\":{\"peak_rss_bytes\":%d}}\n", tf, t, t, rss }'
)";
    std::filesystem::permissions(program_, std::filesystem::perms::owner_all);
    host_.program = program_;
    host_.build = "test";
    host_.machine = "test";
    host_.resolve = [](SweptCommand, bool, const std::vector<std::string>& arguments) {
      StoredJson options = {{"tokens", "64"},          {"bench_pass", "forward_backward"},
                            {"parallel_mode", "none"}, {"ep_path", nullptr},
                            {"devices", "1"},          {"threads_per_device", "2"},
                            {"impl", "baseline"},      {"backend", "gmm"},
                            {"remat_mode", "none"},    {"routing_pack_strategy", "counting_sort"},
                            {"shared_expert_dim", "0"}};
      for (size_t i = 0; i + 1 < arguments.size(); i += 2) {
        std::string name = arguments[i].substr(2);
        std::replace(name.begin(), name.end(), '-', '_');
        options[name] = arguments[i + 1];
      }
      ResolvedPoint point;
      point.options = options;
      point.seconds = 0.02;
      point.bytes = 500;
      if (options["backend"] == "gmm")  // the model knows the spread, in part
        point.step_seconds = options["parallel_mode"] == "none" ? 1.0
                             : options["parallel_mode"] == "dp" ? 2.0
                                                                : 0.9;
      return point;
    };
  }

  using Show = std::function<void(const std::string& line, bool finished)>;
  ClimbOutcome climb(
      const ClimbOptions& options, const Show& show = [](const std::string&, bool) {}) {
    Store store = Store::open_or_create(place_.file("climb.sqlite"));
    return Climber(host_, space_, options).run(store, show);
  }
  // Climbs along the axis `impl`, where every bench of the last comparison also runs these lines.
  ClimbOutcome climb_with_last(const std::string& lines) {
    return climb(impl_alone(), [&](const std::string& line, bool) {
      if (is_of_last(line)) std::ofstream(lines_) << lines;
    });
  }
  static bool is_of_last(const std::string& line) {
    return line.find("the winner beside") != std::string::npos;
  }
  ClimbOptions options() const {
    ClimbOptions o;
    o.base = {{"tokens", "64"}};
    o.memory_bytes = 5000;
    o.budget_s = 600;
    o.command = "moehill climb --tokens 64";
    o.clock = [] { return 0; };  // nothing but runs takes time
    o.begin_s = 0;
    return o;
  }
  ClimbOptions impl_alone() const {
    ClimbOptions o = options();
    o.base = {{"tokens", "64"},   {"parallel_mode", "none"}, {"backend", "gmm"},
              {"blocks", "bt=8"}, {"remat_mode", "none"},    {"routing_pack_strategy", "counting_sort"}};
    return o;
  }
  // A second passes with each run, most of it between the runs (two where the machine is busy, and the run is
  // repeated), and three are predicted, but 3000 for one impl.
  void let_runs_take_a_second(ClimbOptions& o) {
    const auto resolve = host_.resolve;
    host_.resolve = [resolve](SweptCommand command, bool launched,
                              const std::vector<std::string>& arguments) {
      ResolvedPoint point = resolve(command, launched, arguments);
      point.seconds = point.options["impl"] == "preweight" ? 3000 : 3;
      return point;
    };
    o.clock = [&] { return static_cast<double>(num_runs()); };
    o.begin_s = o.clock();
  }
  int64_t num_runs() const {
    std::ifstream file(log_);
    int64_t n = 0;
    for (std::string line; std::getline(file, line);) ++n;
    return n;
  }

  const TemporaryFolder place_;
  const std::string program_ = place_.file("bench"), log_ = place_.file("log"), lines_ = place_.file("lines");
  SweepHost host_;
  const ClimbSpace space_{2, [](const StoredJson&) { return std::vector<std::string>{"bt=8", "bt=16"}; }};
};

TEST_F(ClimberTest, FindsTheFastestThatKeepsToTheLimits) {
  const ClimbOutcome outcome = climb(options());
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  EXPECT_EQ(outcome.winner.options["ep_path"], "fused");
  EXPECT_EQ(outcome.winner.options["impl"], "fast");
  EXPECT_FALSE(outcome.winner.options.contains("backend")) << "no axis of equal arms was moved";
  ASSERT_TRUE(outcome.total && outcome.total->interval);
  EXPECT_NEAR(outcome.total->ratio, 1 / 0.7, 0.03);
  EXPECT_EQ(outcome.moves[0].axis, ClimbAxis::spread) << "what the model expects to gain comes first";
  const std::string text = climb_text(outcome, options());
  for (const char* part : {"out: ep ragged_a2a", "over the limit", "out: remat_mode=combine", "status 3",
                           "dp", "the model expects", "moehill bench --tokens 64"})
    EXPECT_NE(text.find(part), std::string::npos) << part << "\n" << text;
}

TEST_F(ClimberTest, StartedAgainItRunsNothingAndComesToTheSame) {
  const ClimbOutcome first = climb(options());
  const int64_t runs = num_runs();
  const ClimbOutcome second = climb(options());
  EXPECT_EQ(num_runs(), runs);
  EXPECT_EQ(climb_text(second, options()), climb_text(first, options()));
}

TEST_F(ClimberTest, TheBudgetEndsItAndALargerOneGoesOn) {
  ClimbOptions small = options();
  small.budget_s = 0.5;
  const ClimbOutcome cut = climb(small);
  EXPECT_EQ(cut.end, ClimbEnd::budget);
  EXPECT_LT(cut.spent_s, 1.1 * small.budget_s);
  const int64_t runs = num_runs();
  const ClimbOutcome whole = climb(options());
  EXPECT_EQ(whole.end, ClimbEnd::worth);
  EXPECT_GT(num_runs(), runs);
  EXPECT_EQ(whole.winner.options["impl"], "fast");
  Store store = Store::open_existing(place_.file("climb.sqlite"));
  // The smaller climb may have begun moves from another configuration; this climb does not have these moves.
  std::set<std::string> names;
  for (const ClimbMove& move : whole.moves) names.insert(move.experiment);
  size_t num_found = 0;
  int64_t num_thresholds = 0;
  for (const StoredExperiment& e : store.experiments()) {
    // It may also have compared another winner.
    const bool is_total = e.name.find("-total-") != std::string::npos &&
                          store.points(e.id).at(1).options == whole.winner.resolved.options;
    if (!names.contains(e.name) && !is_total) continue;
    ++num_found;
    for (const std::string& text : e.expect) {
      EXPECT_EQ(parse_expectation(text).numerator[0].axis, "arm");
      ++num_thresholds;
    }
    EXPECT_FALSE(e.hypothesis.empty()) << e.name;
    EXPECT_FALSE(store.notes(e.id).empty()) << e.name;
    for (const StoredPoint& point : store.points(e.id))
      EXPECT_NE(point.state, RunState::pending) << point.label;
  }
  EXPECT_EQ(num_found, whole.moves.size() + 1) << "a move an experiment, and the total";
  EXPECT_GE(num_thresholds, 2) << "where the model has a word, and of the total";
}

// The first run tells how long runs take. An arm for which there is no time is left out, so that the rest can
// be decided.
TEST_F(ClimberTest, ASmallBudgetIsSpentOnWhatItCanDecide) {
  ClimbOptions small = options();
  small.base = {{"tokens", "64"}, {"parallel_mode", "none"}};  // of the axes that are left, impl comes first
  let_runs_take_a_second(small);
  for (const double budget : {40.0, 60.0}) {
    std::filesystem::remove(place_.file("climb.sqlite"));
    std::filesystem::remove(log_);
    small.budget_s = budget;
    const ClimbOutcome outcome = climb(small);
    const std::string text = climb_text(outcome, small);
    EXPECT_EQ(outcome.end, ClimbEnd::budget);
    EXPECT_LE(outcome.spent_s, 1.1 * budget) << text;
    EXPECT_GE(outcome.spent_s, budget / 2) << text;
    EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast") << text;
    EXPECT_NE(text.find("no time was left for: "), std::string::npos) << text;
    EXPECT_NE(text.find("ended: what is left to try does not fit the budget"), std::string::npos) << text;
    EXPECT_NE(text.find("not run: impl=preweight: the budget"), std::string::npos) << text;
  }
}

// Each start gives its number as the throughput. A larger budget also has time for the arms that smaller ones
// left out, and these arms run beside others of the same start.
TEST_F(ClimberTest, NoRoundHasRunsOfTwoStarts) {
  ClimbOptions o = impl_alone();
  let_runs_take_a_second(o);
  ClimbOutcome last;
  int start = 0;
  for (const double budget : {5.0, 25.0, 1e5}) {
    std::ofstream(lines_) << "tflops=" << ++start << "\n";
    o.budget_s = budget;
    o.begin_s = o.clock();
    last = climb(o);
  }
  EXPECT_EQ(last.end, ClimbEnd::worth);
  EXPECT_EQ(last.winner.options.value("impl", ""), "fast");
  Store store = Store::open_existing(place_.file("climb.sqlite"));
  std::set<int> all_starts;
  for (const StoredExperiment& e : store.experiments()) {
    std::map<int64_t, std::set<int>> starts;  // by round
    for (const StoredPoint& point : store.points(e.id))
      for (const StoredRecord& record : store.records(point.id))
        if (!record.json.contains("ablated"))
          starts[record.round].insert(record.json.at("tflops").get<int>());
    for (const auto& [round, of_round] : starts) {
      EXPECT_EQ(of_round.size(), 1u) << e.name << " round " << round;
      all_starts.insert(of_round.begin(), of_round.end());
    }
  }
  EXPECT_GE(all_starts.size(), 2u);
  const int64_t runs = num_runs();
  climb(o);
  EXPECT_EQ(num_runs(), runs) << "its own rounds are taken over";
}

TEST_F(ClimberTest, ARunThatTheBudgetEndsIsMadeByALargerOne) {
  ClimbOptions small = impl_alone();
  small.budget_s = 0.1;
  small.least_run_s = 0.05;
  std::ofstream(lines_) << "exec sleep 1000\n";
  EXPECT_EQ(climb(small).end, ClimbEnd::budget) << "and not a failure";
  std::filesystem::remove(lines_);
  const ClimbOutcome whole = climb(impl_alone());
  EXPECT_EQ(whole.end, ClimbEnd::worth);
  EXPECT_EQ(whole.winner.options.value("impl", ""), "fast");
}

TEST_F(ClimberTest, AWinnerWhoseLastCheckFailsIsNotKept) {
  const std::string fails = "case \"$*\" in *\"--impl fast\"*) exit 3;; esac\n";
  for (const char* start : {"first", "again"}) {
    const ClimbOutcome outcome = climb_with_last(fails);
    EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast") << start;
    EXPECT_EQ(outcome.end, ClimbEnd::last_check_failed) << start;
    EXPECT_FALSE(outcome.total) << start;
    EXPECT_NE(
        climb_text(outcome, impl_alone()).find("not kept for bench --climbed: winner: failed, status 3"),
        std::string::npos)
        << start << "\n"
        << climb_text(outcome, impl_alone());
  }
}

TEST_F(ClimberTest, AWinnerThatIsSlowerThanTheFirstIsNotKept) {
  const ClimbOutcome outcome = climb_with_last("case \"$*\" in *\"--impl fast\"*) ms=1300;; esac\n");
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  ASSERT_TRUE(outcome.total);
  EXPECT_LT(outcome.total->ratio, 0.9);
  EXPECT_NE(outcome.not_kept.find("slower"), std::string::npos) << outcome.not_kept;
}

// The machine becomes slower with each round, so that runs of different rounds must not be paired.
TEST_F(ClimberTest, TheLastComparisonPairsByRound) {
  const ClimbOutcome outcome = climb(impl_alone(), [&](const std::string& line, bool finished) {
    if (finished || !is_of_last(line)) return;
    const int round = std::stoi(line.substr(line.find(" round ") + 7));
    std::ofstream lines(lines_);
    lines << "ms=$((ms * " << round << "))\n";
    if (round == 2) lines << "case \"$*\" in *\"--impl fast\"*) rss=9000;; esac\n";
  });
  ASSERT_TRUE(outcome.total);
  EXPECT_EQ(outcome.total->n, 4);
  EXPECT_NEAR(outcome.total->ratio, 1 / 0.88, 0.03);
  EXPECT_NE(outcome.not_kept.find("over the limit"), std::string::npos) << outcome.not_kept;
}

TEST_F(ClimberTest, TheMostMovesAreNamedAsTheEnd) {
  ClimbOptions few = impl_alone();
  few.base.erase("routing_pack_strategy");
  few.most_moves = 1;
  const ClimbOutcome cut = climb(few);
  EXPECT_EQ(cut.end, ClimbEnd::moves) << climb_text(cut, few);
  EXPECT_EQ(cut.moves.size(), 1u);
  EXPECT_TRUE(cut.total);
  few.most_moves = 3;
  EXPECT_EQ(climb(few).end, ClimbEnd::worth) << "there are two axes, and one may be tried again";
}

// The best configuration so far is not the first one any more.
TEST_F(ClimberTest, WhatEndsItInALaterMoveIsNamed) {
  ClimbOptions o = impl_alone();
  o.base.erase("routing_pack_strategy");
  for (const int status : {3, 1}) {
    std::filesystem::remove(place_.file("climb.sqlite"));
    std::filesystem::remove(lines_);
    const ClimbOutcome outcome = climb(o, [&](const std::string& line, bool) {
      if (line.find("move 2") != std::string::npos) std::ofstream(lines_) << "exit " << status << "\n";
    });
    EXPECT_EQ(outcome.end, status == 3 ? ClimbEnd::check_failed : ClimbEnd::run_failed);
    EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast");
    const std::string text = climb_text(outcome, o);
    EXPECT_NE(text.find("ended: the "), std::string::npos) << text;
    EXPECT_NE(text.find("best configuration so far"), std::string::npos) << text;
  }
}

// bench refuses blocks with another backend. The arm that would keep the blocks adopted before is tried
// without them.
TEST_F(ClimberTest, WhatAnotherAxisHasSetDoesNotKeepAnArmOut) {
  host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                        const std::vector<std::string>& arguments) {
    ResolvedPoint point = one(command, launched, arguments);
    if (point.options["backend"] == "ragged_dot" && point.options.contains("blocks"))
      throw InputError("--blocks needs --backend gmm");
    return point;
  };
  std::ofstream(lines_)
      << R"(case "$*" in *"--blocks bt=16"*) ms=850;; *"--backend ragged_dot"*) ms=700;; esac
)";
  ClimbOptions o = impl_alone();
  o.base.erase("blocks");
  o.base.erase("backend");
  o.base["impl"] = "baseline";
  const ClimbOutcome outcome = climb(o);
  const std::string text = climb_text(outcome, o);
  ASSERT_GE(outcome.moves.size(), 2u) << text;
  EXPECT_EQ(outcome.moves[0].axis, ClimbAxis::blocks) << text;
  EXPECT_GT(outcome.moves[0].gain, 1) << text;
  EXPECT_EQ(outcome.winner.options.value("backend", ""), "ragged_dot") << text;
  EXPECT_FALSE(outcome.winner.options.contains("blocks")) << text;
}

// There is no time for the other arms of its round, which is then cut short.
TEST_F(ClimberTest, AFirstCheckThatFailsIsFoundInASmallBudget) {
  ClimbOptions small = impl_alone();
  small.budget_s = 0.024;
  std::ofstream(lines_) << "exit 3\n";
  EXPECT_EQ(climb(small).end, ClimbEnd::check_failed);
}

// The script measures as many points as the command names. Its fast impl is 3 % faster and the others are
// equal, but each process is up to 8 % faster or slower than another one. In a process each arm is up to
// `most` thousandths faster or slower than it is on average.
class SharingClimberTest : public ClimberTest {
 protected:
  SharingClimberTest() {
    std::ofstream(program_) << R"(#!/bin/sh
echo "$*" >>)" + log_ + R"(
n=$(wc -l <)" + log_ + R"()
percent=$((100 + n * 7919 % 17 - 8)) most=0 k=0
lines=)" + lines_ + R"(
[ ! -f "$lines" ] || . "$lines"
emit() {
  us=1000 k=$((k + 1))
  [ "$1" != fast ] || us=970
  h=$((n * 2654435 + k * 40503 & 4294967295))
  h=$(((h ^ h >> 15) * 2146121005 & 4294967295))
  h=$(((h ^ h >> 13) * 74229387 & 4294967295))
  h=$(((h ^ h >> 16) % (2 * most + 1) - most))
  printf '{"schema":"moehill/1","config":{"impl":"%s"},"check":{"status":"passed"},"tflops":1,"time_s":{"median":0.%09d,' "$1" $((us * percent * (1000 + h)))
  echo '"samples":[1]},"peak":{"fraction":0.5},"memory":{"peak_rss_bytes":1}}'
}
impl=baseline shared=no
while [ $# -gt 0 ]; do
  if [ "$1" = --impl ]; then impl=$2; fi
  if [ "$1" = -L ]; then
    own=${3#impl=}
    emit "${own:-baseline}"
    shared=yes
  fi
  shift
done
[ $shared = yes ] || emit "$impl"
)";
    host_.usable_bytes = 1e9;
    host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                          const std::vector<std::string>& arguments) {
      std::vector<std::string> shared, points;
      for (size_t i = 0; i < arguments.size(); ++i) {
        const bool is_point = arguments[i] == "-L";
        (is_point ? points : shared).push_back(arguments[is_point ? i + 2 : i]);
        if (is_point) i += 2;
      }
      ResolvedPoint resolved = one(command, launched, shared);
      for (const std::string& point : points) resolved.options["points"].push_back(point);
      resolved.bytes = 500.0 * static_cast<double>(std::max<size_t>(1, points.size()));
      return resolved;
    };
  }

  // A climb whose arms may share a process: no limit asks what each of them takes.
  ClimbOptions sharing() const {
    ClimbOptions o = impl_alone();
    o.memory_bytes.reset();
    return o;
  }
  std::vector<std::string> commands() const {
    std::vector<std::string> all;
    std::ifstream file(log_);
    for (std::string line; std::getline(file, line);) all.push_back(line);
    return all;
  }
  // Expects that all moves raced arms of one axis whose steps take 4 ms, each what the one before left open.
  void expect_further_races_with_more_steps(const ClimbOutcome& outcome) const {
    Store store = Store::open_existing(place_.file("climb.sqlite"));
    int earlier = 0;
    for (const ClimbMove& move : outcome.moves) {
      EXPECT_EQ(move.axis, ClimbAxis::impl);
      EXPECT_EQ(move.earlier, earlier);
      const std::optional<StoredExperiment> stored = store.find_experiment(move.experiment);
      ASSERT_TRUE(stored) << move.experiment;
      const int64_t steps = earlier == 0 ? 5 : steps_of_further_race(5, move.arms.size(), 0.004);
      EXPECT_EQ(store.points(stored->id).at(0).options["iters"], steps) << move.experiment;
      ++earlier;
    }
  }
  static bool is_shared(const std::string& command) { return command.find(" -L ") != std::string::npos; }
  int64_t num_shared_with(const std::string& text) const {
    const std::vector<std::string> all = commands();
    return std::count_if(all.begin(), all.end(), [&](const std::string& command) {
      return is_shared(command) && command.find(text) != std::string::npos;
    });
  }
};

TEST_F(SharingClimberTest, OneProcessTellsApartWhatTwoProcessesDoNot) {
  const ClimbOutcome outcome = climb(sharing());
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  ASSERT_EQ(outcome.moves.size(), 1u);
  const Race& race = outcome.moves[0].result.race;
  EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast");
  ASSERT_GT(race.winner(), 0u);
  EXPECT_NEAR(race.gain(race.winner())->ratio, 1 / 0.97, 1e-3);
  EXPECT_LE(race.rounds(), 8) << "three rounds to screen, and five to confirm";
  // The first configuration runs alone at first, then each round is a process, and then the winner runs
  // beside the first configuration in processes of their own.
  const std::vector<std::string> all = commands();
  const auto first = std::find_if(all.begin(), all.end(), is_shared);
  const auto last = std::find_if(all.rbegin(), all.rend(), is_shared).base();
  EXPECT_EQ(first - all.begin(), 1) << "even where the machine is busy";
  EXPECT_TRUE(std::all_of(first, last, is_shared));
  EXPECT_EQ(
      std::count_if(all.begin(), first,
                    [](const std::string& command) { return command.find("--impl") != std::string::npos; }),
      0);
  EXPECT_GE(all.end() - last, 2 * 5);
  EXPECT_EQ(num_shared_with(" --impl "), 0);
  EXPECT_GE(num_shared_with("-L point  -L point impl=fast --json"), 1)
      << "the confirming rounds have two arms";
  EXPECT_GE(num_shared_with("-L point impl=fast -L point  --json"), 1) << "and each of them is first";
  ASSERT_TRUE(outcome.total);
  EXPECT_EQ(outcome.total->n, 5);
}

TEST_F(SharingClimberTest, StartedAgainItRunsNothingAndComesToTheSame) {
  const ClimbOutcome first = climb(sharing());
  const int64_t runs = num_runs();
  const ClimbOutcome second = climb(sharing());
  EXPECT_EQ(num_runs(), runs);
  EXPECT_EQ(climb_text(second, sharing()), climb_text(first, sharing()));
}

TEST_F(SharingClimberTest, ArmsThatPassShareAProcessAgain) {
  std::ofstream(lines_) << "percent=100\ncase \"$*\" in *impl=scatter*|*\"impl scatter\"*) exit 3;; esac\n";
  const ClimbOutcome outcome = climb(sharing());
  EXPECT_EQ(outcome.end, ClimbEnd::worth);
  EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast");
  EXPECT_EQ(num_shared_with("impl=scatter"), 1);
  EXPECT_GE(num_shared_with("impl=fast"), 6);
  const std::string text = climb_text(outcome, sharing());
  EXPECT_NE(text.find("out: impl=scatter: failed, status 3"), std::string::npos) << text;
}

TEST_F(SharingClimberTest, AFirstConfigurationThatFailsEndsTheClimbAtOnce) {
  std::ofstream(lines_) << "exit 3\n";
  EXPECT_EQ(climb(sharing()).end, ClimbEnd::check_failed);
  EXPECT_EQ(num_shared_with(""), 0);
}

TEST_F(SharingClimberTest, WhatCannotShareAProcessDoesNot) {
  ClimbOptions limited = sharing();
  limited.memory_bytes = 5000;
  limited.budget_s = 0.3;
  climb(limited);
  host_.usable_bytes = 5 * 500;  // there are six arms
  ClimbOptions large = sharing();
  large.budget_s = 0.3;
  climb(large);
  host_.usable_bytes = 1e9;
  host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                        const std::vector<std::string>& arguments) {
    if (std::count(arguments.begin(), arguments.end(), "-L") > 0)
      throw InputError("--weights cannot be used with -L");
    return one(command, launched, arguments);
  };
  std::filesystem::remove(place_.file("climb.sqlite"));
  climb(large);
  EXPECT_GE(num_runs(), 3);
  EXPECT_EQ(num_shared_with(""), 0);
}

TEST_F(SharingClimberTest, AProcessThatTheBudgetEndsIsMadeByALargerOne) {
  ClimbOptions small = sharing();
  small.budget_s = 0.4;
  small.least_run_s = 0.05;
  std::ofstream(lines_) << "case \"$*\" in *\" -L \"*) exec sleep 1000;; esac\n";
  EXPECT_EQ(climb(small).end, ClimbEnd::budget) << "and not a failure";
  std::filesystem::remove(lines_);
  const ClimbOutcome whole = climb(sharing());
  EXPECT_EQ(whole.end, ClimbEnd::worth);
  EXPECT_EQ(whole.winner.options.value("impl", ""), "fast");
}

// A process takes a second, however many arms it has. Alone, three arms would be too many for this budget.
TEST_F(SharingClimberTest, WhatAnArmCostsAloneLeavesNoneOut) {
  ClimbOptions small = sharing();
  let_runs_take_a_second(small);
  small.budget_s = 18;
  const ClimbOutcome outcome = climb(small);
  ASSERT_GE(outcome.moves.size(), 1u);
  size_t num_left_out = 0;
  for (const MoveArmResult& arm : outcome.moves[0].result.arms) num_left_out += arm.left_out ? 1 : 0;
  EXPECT_EQ(num_left_out, 1u) << "the one of 3000 s";
}

// The first race is too short for so much noise. A step takes 4 ms, so further races take more steps.
TEST_F(SharingClimberTest, WhatARaceLeavesOpenIsRacedOnceMore) {
  std::ofstream(lines_) << "percent=4 most=70\n";
  host_.resolve = [one = host_.resolve](SweptCommand command, bool launched,
                                        const std::vector<std::string>& arguments) {
    ResolvedPoint point = one(command, launched, arguments);
    point.options["iters"] = std::stoll(point.options["iters"].get<std::string>());
    return point;
  };
  ClimbOptions o = sharing();
  o.base["iters"] = 5;
  const ClimbOutcome outcome = climb(o);
  const std::string text = climb_text(outcome, o);
  EXPECT_EQ(outcome.end, ClimbEnd::worth) << text;
  EXPECT_EQ(outcome.winner.options.value("impl", ""), "fast") << text;
  EXPECT_EQ(text.find("not excluded"), std::string::npos) << text;
  ASSERT_GE(outcome.moves.size(), 2u) << text;
  expect_further_races_with_more_steps(outcome);
  EXPECT_EQ(outcome.winner.options["iters"], 5);
  const int64_t runs = num_runs();
  EXPECT_EQ(climb_text(climb(o), o), text);
  EXPECT_EQ(num_runs(), runs);
}

// No budget is large enough for this noise.
TEST_F(SharingClimberTest, TheBudgetIsSpentAsLongAsSomethingMayGain) {
  std::ofstream(lines_) << "most=400\n";
  ClimbOptions noisy = sharing();
  let_runs_take_a_second(noisy);
  noisy.budget_s = 70;
  const ClimbOutcome outcome = climb(noisy);
  const std::string text = climb_text(outcome, noisy);
  EXPECT_EQ(outcome.end, ClimbEnd::budget) << text;
  ASSERT_GE(outcome.moves.size(), 2u) << text;
  EXPECT_GE(outcome.moves[1].earlier, 1) << text;
  EXPECT_GE(outcome.spent_s, 0.7 * noisy.budget_s) << text;
  EXPECT_LE(outcome.spent_s, 1.1 * noisy.budget_s) << text;
  EXPECT_NE(text.find("; more rounds could tell"), std::string::npos) << text;
}

TEST(StepsOfFurtherRace, TakeAboutAsLongAsTheStartOfTheProcess) {
  EXPECT_EQ(steps_of_further_race(5, 2, 0.004), 20);
  EXPECT_EQ(steps_of_further_race(5, 4, 0.004), 10);
  EXPECT_EQ(steps_of_further_race(5, 2, 1), 5) << "long steps";
  EXPECT_EQ(steps_of_further_race(100, 2, 0.004), 100) << "as asked for";
}

TEST_F(ClimberTest, WhatIsGivenIsKept) {
  ClimbOptions given = options();
  given.base["impl"] = "baseline";
  given.base["parallel_mode"] = "none";
  const ClimbOutcome outcome = climb(given);
  EXPECT_EQ(outcome.winner.options, given.base);
  EXPECT_FALSE(outcome.total);
  given.base["topk_list"] = "1,2";
  given.memory_bytes = 100;
  EXPECT_THROW(climb(given), InputError) << "the first configuration breaks the limit";
}

}  // namespace
}  // namespace moehill
