// Tests of the measurement of points, with a clock that advances by a second whenever it is read.
#include "moehill/measure/measurement.h"

#include <gtest/gtest.h>

#include <fstream>
#include <functional>
#include <iterator>
#include <map>
#include <set>

#include "moehill/base/folder_fixture.h"
#include "moehill/routing/test_routings.h"

namespace moehill {
namespace {

BenchOptions measured_options() {
  BenchOptions options;
  options.shape = {24, 16, 8, 4, 2, 8, DType::f32};
  options.modes = {ParallelMode::none, ParallelMode::ep};
  options.devices = 2;
  options.threads_per_device = 1;
  options.schedule.warmup = 1;
  options.schedule.iters = 3;
  options.mesh = MeshKind::threads;
  return options;
}

struct Measured {
  CommandResult command;
  std::vector<std::string> progress;
};

Measured measure_points(const BenchOptions& options, const std::vector<Point>& points) {
  Measured measured;
  const Job job;
  Yardstick yardstick({});
  double now = 0;
  Measurement measurement(options, points, job, yardstick,
                          {.show = [&](const std::string& text) { measured.progress.push_back(text); }},
                          [&] { return now += 1; });
  measurement.prepare();
  measurement.time(&measured.command);
  measured.command.points = measurement.take_results();
  return measured;
}

TEST(Measurement, ChecksEveryPointAndTakesASampleARound) {
  const BenchOptions options = measured_options();
  const Measured measured = measure_points(options, expand_points(options, 2));
  ASSERT_EQ(measured.command.points.size(), 2u);
  for (const PointResult& result : measured.command.points) {
    EXPECT_EQ(result.check.status, CheckStatus::passed) << result.point.label << ": " << result.check.reason;
    EXPECT_EQ(result.samples, (std::vector<double>{1, 1, 1}));
    EXPECT_TRUE(result.trusted());
    EXPECT_EQ(result.cpu_seconds.size(), 1u);
    EXPECT_TRUE(result.stage_samples.empty());  // nobody asked for them
    EXPECT_NE(std::find(result.timed_region.begin(), result.timed_region.end(), "up"),
              result.timed_region.end());
    EXPECT_DOUBLE_EQ(tokens_per_s(result), 24);
  }
  EXPECT_EQ(measured.command.points[0].output_hash == 0, false);
  EXPECT_EQ(measured.command.order.size(), 3u);
  EXPECT_EQ(measured.command.stop_reason, "iters");
  EXPECT_EQ(measured.progress.front(), "checking 1 of 2: none");
  EXPECT_EQ(measured.progress.back(), "round 3 of 3");
}

// Points of one command may share a kind of distribution and differ in its parameters, or in the devices that
// a balanced routing counts. Each one has the plan that it has alone.
void expect_own_plans(const BenchOptions& options, const std::vector<Point>& points) {
  const Measured together = measure_points(options, points);
  ASSERT_EQ(together.command.points.size(), points.size());
  std::set<uint64_t> plans;
  for (size_t i = 0; i < points.size(); ++i) {
    const Measured alone = measure_points(options, {points[i]});
    plans.insert(alone.command.points[0].plan_hash);
    EXPECT_EQ(together.command.points[i].plan_hash, alone.command.points[0].plan_hash) << points[i].label;
  }
  EXPECT_EQ(plans.size(), points.size()) << "the routings are not distinct, so this test sees nothing";
}

// Points share operands, routings and threads where they can. Whatever they differ in, no point may take what
// belongs to another one.
TEST(Measurement, APointOfManyHasTheBitsThatItHasAlone) {
  const std::vector<std::function<void(BenchOptions&)>> changes = {
      [](BenchOptions&) {},
      [](BenchOptions& o) { o.shape.tokens = 40; },
      [](BenchOptions& o) { o.shape.hidden = 24; },
      [](BenchOptions& o) { o.shape.mlp_dim = 12; },
      [](BenchOptions& o) { o.shape.experts = 8; },
      [](BenchOptions& o) { o.topk_list = {3}; },
      [](BenchOptions& o) { o.shape.shared_dim = 0; },
      [](BenchOptions& o) { o.shape.dtype = DType::bf16; },
      [](BenchOptions& o) { o.shape.router.score = RouterScore::sigmoid; },
      [](BenchOptions& o) { o.shape.router.factor = 2.5; },
      [](BenchOptions& o) { o.shape.router = {.score = RouterScore::sigmoid, .bias = true}; },
      [](BenchOptions& o) { o.shape.form.activation.function = ActivationFunction::gelu_tanh; },
      [](BenchOptions& o) { o.shape.form.biases = true; },
      [](BenchOptions& o) {
        o.block.capacity = {CapacityPolicy::drop, 1.0};
      },
      [](BenchOptions& o) {
        o.block.capacity = {CapacityPolicy::pad, 1.25};
      },
      [](BenchOptions& o) { o.block.route_in_step = true; },
      [](BenchOptions& o) { o.block.pass = Pass::forward; },
      [](BenchOptions& o) { o.block.remat = Remat::expert_mlp; },
      [](BenchOptions& o) { o.impls = {Impl::baseline}; },
      [](BenchOptions& o) { o.modes = {ParallelMode::ep}; },
  };
  std::vector<Point> points;
  for (const auto& change : changes) {
    BenchOptions options = measured_options();
    options.modes = {ParallelMode::none};
    change(options);
    points.push_back(expand_points(options, 2).front());
  }
  const BenchOptions options = measured_options();
  const Measured together = measure_points(options, points);
  ASSERT_EQ(together.command.points.size(), points.size());
  for (size_t i = 0; i < points.size(); ++i) {
    const PointResult& here = together.command.points[i];
    const PointResult alone = measure_points(options, {points[i]}).command.points[0];
    EXPECT_EQ(here.check.status, CheckStatus::passed) << i << ": " << here.check.reason;
    EXPECT_EQ(here.plan_hash, alone.plan_hash) << i;
    EXPECT_EQ(here.output_hash, alone.output_hash) << i;
  }
}

TEST(Measurement, EachPointHasTheRoutingOfItsOwnDistribution) {
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::none};
  options.distributions.clear();
  for (const char* text : {"zipf:0.5", "zipf:1.5", "W0", "W1", "hot-experts:2,0.5", "hot-experts:2,0.9"})
    options.distributions.push_back(parse_distributions(text).front());
  expect_own_plans(options, expand_points(options, 4));
}

TEST(Measurement, EachPointHasTheBalanceOfItsOwnDevices) {
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::ep};
  options.distributions = parse_distributions("balanced");
  std::vector<Point> points;
  for (const int devices : {2, 4}) {
    options.devices = devices;
    points.push_back(expand_points(options, 4).front());
  }
  EXPECT_FALSE(same_routing(points[0].distribution, points[1].distribution));
  expect_own_plans(options, points);
  points[0].distribution.kind = points[1].distribution.kind = Distribution::random;
  EXPECT_TRUE(same_routing(points[0].distribution, points[1].distribution));
}

TEST(Measurement, StagesAreOfTheTimedRoundsAlone) {
  BenchOptions options = measured_options();
  options.stage_timing = true;
  const Measured measured = measure_points(options, expand_points(options, 2));
  for (const PointResult& result : measured.command.points) {
    ASSERT_EQ(result.stage_samples.size(), result.samples.size());
    EXPECT_EQ(result.stage_samples[0].size(), static_cast<size_t>(result.point.config.num_devices));
    EXPECT_GT(result.stage_samples[0][0].stages[static_cast<size_t>(Stage::up)], 0);
  }
}

// The devices also meet before each step, where a wait may last as long as the step itself.
TEST(Measurement, WaitsAreOfTheStepAlone) {
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::ep};
  options.stage_timing = true;
  for (const Spread path : kEpPaths) {
    options.ep_path = path;
    const std::vector<Point> points = expand_points(options, 2);
    RunFactory factory(points[0].distribution, options.seed, {}, nullptr, nullptr);
    const std::unique_ptr<moehill::Run> run = factory.make(points[0].config);
    DeviceStages stages(2, [] { return seconds(); });
    for (int step = 0; step < 3; ++step) {
      stages.restart();
      run->rouse();
      run->step(stages.listeners());
      run->rouse();
      run->collect();
      const StepEvents events = stages.events();
      double all = 0, of_last = 0;
      for (size_t d = 0; d < events.size(); ++d) {
        double sum = 0;
        for (const Wait& wait : events[d].waits) {
          EXPECT_GE(wait.begin, events[d].stages.front().begin) << name_of(path);
          EXPECT_LE(wait.end, events[d].stages.back().end) << name_of(path);
          sum += wait.end - wait.begin;
        }
        EXPECT_NEAR(sum, run->traffic()[d].wait_seconds, 1e-9) << name_of(path);
        all += sum;
      }
      for (size_t n = 0; n < events[0].waits.size(); ++n) {
        const Wait &a = events[0].waits[n], &b = events[1].waits[n];
        const Wait& last = b.begin > a.begin ? b : a;
        of_last += last.end - last.begin;
      }
      double matrix = 0;
      for (const WaitEntry& e : wait_entries(events)) matrix += e.seconds;
      EXPECT_NEAR(matrix, all - of_last, 1e-9) << name_of(path);
    }
  }
}

// The product of all experts is one hand-over to the team, no matter how many experts have rows. A small plan
// is made by one thread.
TEST(Measurement, FewTokensHandOverOnceForEachProduct) {
  BenchOptions options = measured_options();
  options.shape = {3, 16, 8, 4, 2, 8, DType::bf16};
  options.modes = {ParallelMode::none};
  options.devices = 1;
  options.threads_per_device = 2;
  options.stage_timing = true;
  const Measured measured = measure_points(options, expand_points(options, 2));
  ASSERT_EQ(measured.command.points.size(), 1u);
  std::map<std::string, double> counted;
  const StageSeconds stages = stages_of_median(measured.command.points[0]);
  for (const Stage stage : all_values<Stage>()) {
    if (stages.seconds[static_cast<size_t>(stage)] > 0)
      counted[name_of(stage)] = stages.hand_overs[static_cast<size_t>(stage)];
  }
  EXPECT_EQ(counted, (std::map<std::string, double>{{"plan", 0},
                                                    {"up", 1},
                                                    {"down", 1},
                                                    {"combine", 1},
                                                    {"shared", 4},
                                                    {"down_grad", 1},
                                                    {"act_grad", 1},
                                                    {"w2_grad", 1},
                                                    {"up_grad", 1},
                                                    {"w13_grad", 1},
                                                    {"combine_grad", 1},
                                                    {"shared_grad", 7}}));
}

// One of the devices has a ninth of the tokens, and another has five ninths.
TEST(Measurement, EveryPathTakesRaggedSources) {
  BenchOptions options = measured_options();
  options.shape = {45, 32, 24, 12, 3, 16, DType::f32};
  options.distributions = parse_distributions("W4");
  options.devices = 3;
  options.check = CheckMode::full;
  options.schedule.iters = 1;
  for (const Spread spread : all_values<Spread>()) {
    options.modes = {mode_of(spread)};
    if (is_ep(spread)) options.ep_path = spread;
    const Measured measured = measure_points(options, expand_points(options, 3));
    const PointResult& result = measured.command.points.at(0);
    EXPECT_EQ(result.check.status, CheckStatus::passed) << name_of(spread) << ": " << result.check.reason;
    EXPECT_EQ(result.num_unassigned, 3 * 23) << name_of(spread);
    EXPECT_EQ(impossible_figure(result, 0), "") << name_of(spread);
  }
}

TEST(Measurement, AssignmentsOfNobodyArePassedOverByEveryPath) {
  const TemporaryFolder folder;
  std::ofstream(folder.file("t.jsonl")) << trace_with_nobodys();
  BenchOptions options = measured_options();
  options.shape = {45, 32, 24, 12, 3, 16, DType::f32};
  options.distributions = parse_distributions("trace:" + folder.file("t.jsonl"));
  options.devices = 3;
  options.check = CheckMode::full;
  options.schedule.iters = 1;
  for (const Spread spread : all_values<Spread>()) {
    options.modes = {mode_of(spread)};
    if (is_ep(spread)) options.ep_path = spread;
    for (const CapacityPolicy policy : all_values<CapacityPolicy>()) {
      options.block.capacity = {policy, policy == CapacityPolicy::none ? 0 : 0.4};
      const Measured measured = measure_points(options, expand_points(options, 3));
      const PointResult& result = measured.command.points.at(0);
      const std::string what = fmt::format("{} {}", name_of(spread), name_of(policy));
      EXPECT_EQ(result.check.status, CheckStatus::passed) << what << ": " << result.check.reason;
      EXPECT_EQ(result.num_unassigned, kNobodys) << what;
      EXPECT_EQ(result.num_dropped == 0, policy == CapacityPolicy::none) << what;
      EXPECT_EQ(impossible_figure(result, 0), "") << what;
    }
  }
}

// A spilled assignment goes to another device than the routing asks for, maybe to its token's own.
TEST(Measurement, NoPathCountsLessThanItsRoutingNeeds) {
  BenchOptions options = measured_options();
  options.shape = {45, 32, 24, 12, 3, 16, DType::f32};
  options.devices = 3;
  options.schedule.iters = 1;
  for (const int spares : {0, 2}) {
    options.block.capacity = {.policy = CapacityPolicy::drop, .factor = 0.75, .spares = spares};
    for (const Spread spread : all_values<Spread>()) {
      options.modes = {mode_of(spread)};
      if (is_ep(spread)) options.ep_path = spread;
      const Measured measured = measure_points(options, expand_points(options, 3));
      PointResult result = measured.command.points.at(0);
      const std::string what = fmt::format("{} {}", name_of(spread), spares);
      EXPECT_EQ(result.num_spilled > 0, spares > 0) << what;
      EXPECT_EQ(result.lower_bound_bytes > 0, spread != Spread::none) << what;
      ASSERT_NE(result.check.status, CheckStatus::failed) << what << ": " << result.check.reason;
      result.check.status = CheckStatus::passed;  // experts without rows are doubted, but not counted
      EXPECT_EQ(impossible_figure(result, 0), "") << what;
    }
  }
}

// One token, one expert and one number between the products: relu2 makes all of the other operands' results
// zero if the number has the other sign. Then the step on them proves nothing, although the first one did.
TEST(Measurement, OtherOperandsThatProveLessAreTold) {
  BenchOptions options = measured_options();
  options.shape = {1, 16, 1, 1, 1, 0, DType::f32};
  options.shape.form = parse_expert_form("relu2");
  options.modes = {ParallelMode::none};
  options.devices = 1;
  const std::vector<Point> points = expand_points(options, 2);
  ASSERT_EQ(points.size(), 1u);
  const auto sign_of_gate = [](moehill::Run& run) {
    const BlockTensors t = run.tensors();
    double sum = 0;
    for (int64_t h = 0; h < 16; ++h)
      sum += static_cast<double>(t.x.at(0, h)) * static_cast<double>(t.weights.w1.at(0, h, 0));
    return sum > 0;
  };
  for (options.seed = 0; options.seed < 100; ++options.seed) {
    RunFactory factory(points[0].distribution, options.seed, {});
    const std::unique_ptr<moehill::Run> run = factory.make(points[0].config);
    const bool first = sign_of_gate(*run);
    run->use_other_operands(true);
    if (first && !sign_of_gate(*run)) break;
  }
  ASSERT_LT(options.seed, 100u);
  const Measured measured = measure_points(options, points);
  const PointResult& result = measured.command.points.at(0);
  EXPECT_EQ(result.check.status, CheckStatus::mistrusted);
  EXPECT_NE(result.check.reason.find("a step on other tokens and weights"), std::string::npos)
      << result.check.reason;
  EXPECT_FALSE(result.trusted());
}

// The parts of --overlap have no results, so nothing of them may take the place of their point's tensors.
TEST(Measurement, WhatIsDumpedIsOfTheWholeStep) {
  const TemporaryFolder folder;
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::ep};
  options.schedule.iters = 1;
  const std::vector<Point> points = expand_points(options, 2);
  const auto dumped = [&](const std::string& name, const std::vector<Point>& all) {
    options.dump = folder.file(name);
    measure_points(options, all);
    std::ifstream file(options.dump + "/y.npy", std::ios::binary);
    return std::string(std::istreambuf_iterator<char>(file), {});
  };
  const std::string whole = dumped("whole", points);
  ASSERT_FALSE(whole.empty());
  EXPECT_EQ(dumped("parts", with_parts(points)), whole);
}

TEST(Measurement, WithoutACheckThereIsASampleAndNoFigure) {
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::none};
  options.check = CheckMode::off;
  const Measured measured = measure_points(options, expand_points(options, 2));
  EXPECT_EQ(measured.command.points[0].check.status, CheckStatus::off);
  EXPECT_EQ(measured.command.points[0].samples.size(), 3u);
  EXPECT_FALSE(measured.command.points[0].trusted());
}

TEST(Measurement, KeepsTheEventsOfTheLastStepsForATrace) {
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::ep};
  options.ep_path = Spread::ragged_a2a;
  options.trace_dir = "traces";  // nothing is written here
  options.trace_steps = 2;
  const Measured measured = measure_points(options, expand_points(options, 2));
  const PointResult& result = measured.command.points[0];
  ASSERT_EQ(result.events.size(), 2u);
  EXPECT_EQ(result.events[0].size(), 2u);  // devices
  EXPECT_EQ(result.work.size(), 2u);
  EXPECT_EQ(result.pair_rows.size(), 4u);
}

// Threads on one node have no list of the node's ranks, and the exchange on two levels is counted by them.
TEST(Measurement, EveryPathHasItsWorkForATraceOnOneNode) {
  BenchOptions options = measured_options();
  options.modes = {ParallelMode::ep};
  options.trace_dir = "traces";  // nothing is written here
  options.schedule.iters = 1;
  for (const Spread path : kEpPaths) {
    options.ep_path = path;
    const Measured measured = measure_points(options, expand_points(options, 2));
    EXPECT_EQ(measured.command.points.at(0).work.size(), 2u) << name_of(path);
  }
}

}  // namespace
}  // namespace moehill
