// Tests of the score of --ep-path auto: what is kept, and how it is judged.
#include "moehill/predict/pick_score.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>
#include <functional>
#include <iterator>
#include <optional>
#include <set>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

ScoredRun run_of(const std::string& problem, const std::string& path, bool taken, double predicted,
                 double measured) {
  return {"2026-02-09T00:00:00Z", "1", "a CPU", problem, path, taken, 2, predicted, measured};
}

TEST(PickScore, KeepsRunsInTheOrderTheyCame) {
  const TemporaryFolder folder;
  const std::string file = folder.file("score.jsonl");
  EXPECT_TRUE(read_scores(file).empty());
  EXPECT_EQ(append_scores({run_of("a", "fused", true, 1, 2)}, file), "");
  EXPECT_EQ(append_scores({run_of("b", "ragged_a2a", false, 3, 4)}, file), "");
  const std::vector<ScoredRun> runs = read_scores(file);
  ASSERT_EQ(runs.size(), 2u);
  EXPECT_EQ(runs[0].problem, "a");
  EXPECT_TRUE(runs[0].taken);
  EXPECT_EQ(runs[1].path, "ragged_a2a");
  EXPECT_EQ(runs[1].measured_s, 4);
}

TEST(PickScore, AFileThatCannotBeWrittenIsSaid) {
  EXPECT_NE(append_scores({run_of("a", "fused", true, 1, 2)}, "/proc/nowhere/score"), "");
  EXPECT_EQ(append_scores({}, "/proc/nowhere/score"), "");
}

TEST(PickScore, RefusesAFileOfSomethingElse) {
  const TemporaryFolder folder;
  const std::string file = folder.file("no_score.jsonl");
  std::ofstream(file) << "not a score\n";
  EXPECT_THROW(read_scores(file), InputError);
}

TEST(PickScore, RefusesFiguresThatNoRunHas) {
  const TemporaryFolder folder;
  const auto written = [&](const char* candidates, const char* predicted, const char* measured) {
    const std::string file = folder.file("score.jsonl");
    std::ofstream(file) << fmt::format(
        R"({{"schema": "moehill/score-2", "time_utc": "t", "build": "b", "cpu": "c", "problem": "p", )"
        R"("path": "fused", "taken": true, "candidates": {}, "predicted_s": {}, "measured_s": {}}})"
        "\n",
        candidates, predicted, measured);
    return read_scores(file).size();
  };
  EXPECT_EQ(written("2", "1", "1"), 1u);
  for (const char* candidates : {"1e300", "2.5", "4294967298", "18446744073709551618", "\"2\""})
    EXPECT_THROW(written(candidates, "1", "1"), InputError) << candidates;
  EXPECT_THROW(written("2", "0", "1"), InputError);
  EXPECT_THROW(written("2", "0", "0"), InputError);
  EXPECT_THROW(written("2", "1", "-1"), InputError);
}

TEST(PickScore, JudgesWhereAllPathsWereMeasured) {
  const std::vector<ScoredRun> runs = {
      run_of("good", "fused", true, 1.0, 1.0),   run_of("good", "ragged_a2a", false, 1.1, 1.2),
      run_of("bad", "fused", true, 1.0, 1.1),    run_of("bad", "ragged_a2a", false, 1.1, 1.0),
      run_of("close", "fused", true, 1.0, 1.02), run_of("close", "ragged_a2a", false, 1.1, 1.0),
      run_of("alone", "fused", true, 1.0, 2.0),  run_of("never", "fused", false, 1.0, 1.0)};
  const Score score = score_of(runs);
  EXPECT_EQ(score.num_runs, 8);
  EXPECT_EQ(score.num_taken, 4);
  EXPECT_EQ(score.num_judged, 3);
  EXPECT_EQ(score.num_within, 2);
  EXPECT_NEAR(score.p90_error, 0.5, 1e-12);
}

// The kernels of a later build may be faster on all paths, so its times judge no choice of an older one.
TEST(PickScore, BuildsAreNotMixed) {
  std::vector<ScoredRun> runs = {run_of("p", "fused", true, 1.0, 1.0),
                                 run_of("p", "ragged_a2a", false, 1.1, 0.5)};
  EXPECT_EQ(score_of(runs).num_judged, 1);
  runs[1].build = "2";
  EXPECT_EQ(score_of(runs).num_judged, 0);
  runs.push_back(run_of("p", "ragged_a2a", false, 1.1, 1.2));
  EXPECT_EQ(score_of(runs).num_judged, 1);
  EXPECT_EQ(score_of(runs).num_within, 1);
}

// Other kernels may be slower on one path alone, and more cores may be faster.
TEST(PickScore, SimdTargetsAndCoresAreNotMixed) {
  const TemporaryFolder folder;
  const std::string file = folder.file("score.jsonl");
  for (const char* machine : {"2 cores, AVX2", "2 cores, AVX3_ZEN4", "4 cores, AVX2"}) {
    ScoredRun run = run_of("p", "fused", true, 1.0, 1.0);
    run.machine = "2 cores, AVX2";
    ScoredRun other = run_of("p", "ragged_a2a", false, 1.1, 0.5);
    other.machine = machine;
    std::filesystem::remove(file);
    ASSERT_EQ(append_scores({run, other}, file), "");
    EXPECT_EQ(score_of(read_scores(file)).num_judged, machine == run.machine ? 1 : 0) << machine;
  }
}

// Returns the run on four devices that this function has changed.
ScoredRun scored_with(const std::function<void(BenchOptions&, RunConfig&)>& change) {
  BenchOptions options;
  PointResult result;
  RunConfig& config = result.point.config;
  config.shape = {64, 32, 16, 8, 2, 0, DType::f32};
  config.spread = Spread::fused;
  config.num_devices = 4;
  change(options, config);
  result.prediction = Prediction{};
  result.samples = {1};
  CommandResult command;
  command.points = {result};
  command.environment.topology.num_cores = 2;
  command.environment.kernel = "AVX2";
  return scored_runs(options, command).at(0);
}

std::string problem_with(const std::function<void(BenchOptions&, RunConfig&)>& change) {
  return scored_with(change).problem;
}

TEST(PickScore, ARunHasItsCoresAndSimdTarget) {
  EXPECT_EQ(scored_with([](BenchOptions&, RunConfig&) {}).machine, "2 cores, AVX2");
}

TEST(PickScore, ProblemsDifferInWhatDecidesTheTime) {
  const std::function<void(BenchOptions&, RunConfig&)> changes[] = {
      [](BenchOptions&, RunConfig&) {},
      [](BenchOptions&, RunConfig& c) { c.wire = Wire::fp8_scales; },
      [](BenchOptions&, RunConfig& c) { c.ranks_per_node = 2; },
      [](BenchOptions&, RunConfig& c) { c.placement = {1, 0, 2, 3, 4, 5, 6, 7}; },
      [](BenchOptions&, RunConfig& c) { c.placement = {2, 1, 0, 3, 4, 5, 6, 7}; },
      [](BenchOptions& o, RunConfig&) { o.split_rows = Switch::on; },
      [](BenchOptions& o, RunConfig&) { o.mesh = MeshKind::mpi; },
      [](BenchOptions& o, RunConfig&) { o.seed = 1; },
      [](BenchOptions&, RunConfig& c) { c.block.shared_fused = true; },
      [](BenchOptions&, RunConfig& c) { c.block.route_in_step = true; },
      [](BenchOptions&, RunConfig& c) { c.block.pack = PackStrategy::argsort; },
      [](BenchOptions&, RunConfig& c) {
        c.block.capacity = {CapacityPolicy::drop, 1.25};
      },
      [](BenchOptions&, RunConfig& c) {
        c.block.capacity = {CapacityPolicy::drop, 1.25, 0, CapacityOrder::gate};
      },
      [](BenchOptions&, RunConfig& c) {
        c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 1.25, .pool = 2};
      },
      [](BenchOptions&, RunConfig& c) {
        c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 1.25, .sources = 4};
      },
      [](BenchOptions&, RunConfig& c) {
        c.block.capacity = {.policy = CapacityPolicy::drop, .factor = 1.25, .spares = 1};
      }};
  std::set<std::string> problems;
  for (const auto& change : changes) problems.insert(problem_with(change));
  EXPECT_EQ(problems.size(), std::size(changes));
}

// A point's ring split does not depend on what the other points of its command ask for.
TEST(PickScore, APointOfSeveralHasItsOwnRingSplit) {
  const std::string split = problem_with([](BenchOptions& o, RunConfig&) { o.split_rows = Switch::on; });
  const std::string whole = problem_with([](BenchOptions&, RunConfig&) {});
  const auto of_several = [](std::optional<Switch> own, std::optional<Switch> of_command) {
    return problem_with([=](BenchOptions& o, RunConfig&) {
      o.variants.resize(1);
      o.variants[0].split_rows = own;
      o.split_rows = of_command;
    });
  };
  EXPECT_EQ(of_several(Switch::on, std::nullopt), split);
  EXPECT_EQ(of_several(std::nullopt, Switch::on), whole);
}

TEST(PickScore, PathsOfAProblemAreTheSameProblem) {
  std::set<std::string> problems;
  for (const Spread path : kEpPaths) {
    problems.insert(problem_with([&](BenchOptions& o, RunConfig& c) {
      c.spread = path;
      c.split_rows = path == Spread::ring_ag_rs;  // it has no effect on the others
      o.split_rows = Switch::on;
    }));
  }
  EXPECT_EQ(problems.size(), 1u) << fmt::format("{}", fmt::join(problems, "\n"));
}

// Lines of schema score-1 lack parts of their problem.
TEST(PickScore, OldLinesArePassedOver) {
  const TemporaryFolder folder;
  const std::string file = folder.file("old_score.jsonl");
  std::ofstream(file) << "{\"schema\":\"moehill/score-1\"}\n";
  ASSERT_EQ(append_scores({run_of("a", "fused", true, 1, 2)}, file), "");
  EXPECT_EQ(read_scores(file).size(), 1u);
}

// Other kernels have other speeds, and another build may have another model.
TEST(PickScore, TheErrorIsThatOfOneMachineAndBuild) {
  Environment here;
  here.topology.cpu_model = "a CPU";
  here.topology.num_cores = 2;
  here.kernel = "AVX2";
  here.build = "1";
  ScoredRun own = run_of("a", "fused", true, 1.1, 1);
  own.machine = "2 cores, AVX2";
  for (std::string ScoredRun::*member : {&ScoredRun::cpu, &ScoredRun::machine, &ScoredRun::build}) {
    ScoredRun other = own;
    other.*member = "another";
    other.predicted_s = 9;
    EXPECT_EQ(error_of_model({own, other}, here),
              "In 1 run here the model was off by 10 % in the median, by 10 % in one of ten.");
    EXPECT_NE(error_of_model({other}, here).find("not known"), std::string::npos);
    const std::string text = score_report({own, other, own});
    EXPECT_NE(text.find("a CPU, 2 cores, AVX2, by 1\n"), std::string::npos) << text;
    EXPECT_NE(text.find("2 runs, 2 of them on a path that auto took: median error 10.0 %"), std::string::npos)
        << text;
    EXPECT_NE(text.find("1 run, 1 of them on a path that auto took: median error 800.0 %"), std::string::npos)
        << text;
  }
}

// The file keeps Highway's name of a SIMD target; people know it as AVX-512.
TEST(PickScore, AMachineHasTheNameThatPeopleKnow) {
  ScoredRun run = run_of("a", "fused", true, 1.1, 1);
  run.machine = "2 cores, AVX3_ZEN4";
  const std::string text = score_report({run});
  EXPECT_EQ(text.rfind("a CPU, 2 cores, AVX-512_ZEN4, by 1\n", 0), 0u) << text;
}

// Its measured time has the router, and its prediction has not. The choice of a path can be judged.
TEST(PickScore, AStepWithTheRouterHasNoError) {
  const auto in_step = [](BenchOptions&, RunConfig& c) { c.block.route_in_step = true; };
  ScoredRun taken = scored_with(in_step), other = taken;
  taken.taken = true;
  taken.num_candidates = other.num_candidates = 2;
  other.path = "ragged_a2a";
  const std::vector<ScoredRun> runs = {taken, other};
  EXPECT_EQ(score_of(runs).num_runs, 0);
  EXPECT_EQ(score_of(runs).num_judged, 1);
  EXPECT_NE(score_report(runs).find("so there is no error"), std::string::npos);
}

TEST(PickScore, TheMedianOfAPathCounts) {
  // fused is the slower one in one of three runs.
  const std::vector<ScoredRun> runs = {run_of("a", "fused", true, 1, 1.0), run_of("a", "fused", true, 1, 1.3),
                                       run_of("a", "fused", true, 1, 1.0),
                                       run_of("a", "ragged_a2a", false, 1, 1.1)};
  EXPECT_EQ(score_of(runs).num_judged, 1);
  EXPECT_EQ(score_of(runs).num_within, 1);
}

}  // namespace
}  // namespace moehill
