// Tests of ablation: which points get arms, what an arm saves, and that a real arm leaves out its stages and
// no others.
#include "moehill/measure/ablation_arms.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/parse.h"
#include "moehill/measure/make_record.h"
#include "moehill/measure/measurement.h"
#include "moehill/measure/results_fixture.h"

namespace moehill {
namespace {

std::vector<Point> two_points() {
  std::vector<Point> points(2);
  points[0].label = "none";
  points[1].label = "ep";
  points[1].config.spread = Spread::ragged_a2a;
  points[1].config.num_devices = 2;
  return points;
}

TEST(AblationArms, StandBehindThePointsWhoseStepHasTheStage) {
  const std::vector<Point> all = with_ablations(two_points(), parse_ablations("exchange,combine"));
  std::vector<std::string> labels;
  for (const Point& point : all) labels.push_back(point.label);
  EXPECT_EQ(labels, (std::vector<std::string>{"none", "none without combine", "ep", "ep without exchange",
                                              "ep without combine"}));
  try {
    with_ablations({all[0]}, parse_ablations("exchange"));
    ADD_FAILURE() << "one device exchanges nothing";
  } catch (const InputError& error) {
    const std::string text = error.what();
    EXPECT_NE(text.find("combine"), std::string::npos) << text;
    EXPECT_EQ(text.find("plan"), std::string::npos) << "--ablate refuses it: " << text;
  }
}

CommandResult command_with_arm() {
  CommandResult command = made_up_command();
  PointResult arm = made_up_result(Spread::none, 0.1);
  arm.point.config.block.ablation = parse_ablation("weight_grad");
  arm.samples = {0.08, 0.07, 0.08, 0.06, 0.07};
  command.points.insert(command.points.begin() + 1, arm);
  take_ablations(command);
  return command;
}

// The whole step has samples of 0.098, 0.1, 0.101, 0.1 and 0.099 s, and its clock shows 0.03 s in w2_grad.
TEST(AblationArms, SavingIsOfTheSameRounds) {
  const CommandResult command = command_with_arm();
  ASSERT_EQ(command.points.size(), 2u);
  ASSERT_EQ(command.points[0].arms.size(), 1u);
  const std::optional<Saving> saving = saving_of(command.points[0], command.points[0].arms[0]);
  EXPECT_NEAR(saving->seconds.median, 0.029, 1e-12);
  EXPECT_NEAR(saving->seconds.interval->lo, 0.018, 1e-12);
  EXPECT_NEAR(saving->seconds.interval->hi, 0.04, 1e-12);
  EXPECT_NEAR(*saving->clock, 0.03, 1e-12);
  EXPECT_NEAR(saving->share, 0.29, 1e-12);
  EXPECT_NE(ablation_tables(command).find("weight_grad"), std::string::npos) << ablation_tables(command);
}

// A filter knows the names of points, and none of arms.
TEST(AblationArms, ReproIsThatOfTheWholeStep) {
  BenchOptions options;
  options.repro = "moehill bench --parallel-mode both --ablate weight_grad";
  CommandResult command = command_with_arm();
  command.points[0].arms[0].point.label += " without weight_grad";
  const std::vector<Record> records = make_records(options, command);
  ASSERT_EQ(records.size(), 3u);
  EXPECT_NE(records[0].repro.value().find("--filter"), std::string::npos);
  EXPECT_EQ(records[2].repro, records[0].repro);
}

// An arm has no throughput, even if its check is recorded as passed.
TEST(AblationArms, RecordIsMarkedAndHasNoThroughput) {
  const std::vector<Record> records = make_records({}, command_with_arm());
  ASSERT_EQ(records.size(), 3u);
  EXPECT_FALSE(is_ablated(json_of(records[0])));
  EXPECT_TRUE(records[0].tflops.has_value());
  const Record& arm = records[2];
  EXPECT_EQ(arm.ablated, (std::vector<std::string>{"w2_grad", "w13_grad"}));
  EXPECT_EQ(arm.ablation->of_seq, 0);
  EXPECT_TRUE(arm.time_s.median.has_value());
  for (const Figure& figure : {arm.tflops, arm.tflops_executed, arm.tflops_per_device, arm.tokens_per_s,
                               arm.drop_adjusted_tokens_per_s, arm.peak.fraction})
    EXPECT_FALSE(figure.has_value());
  Json json = json_of(arm);
  EXPECT_EQ(json["config"]["ablate"], "weight_grad");
  Record again;
  read_fields(json, again);
  EXPECT_EQ(again.config.run.block.ablation, arm.config.run.block.ablation);
  json["tflops"] = 1;
  for (const char* mark : {"ablated", "ablation", "config"}) {
    EXPECT_TRUE(is_ablated(json)) << "before " << mark << " is taken off";
    EXPECT_FALSE(tflops_of(json).has_value());
    json.erase(mark);
  }
  EXPECT_FALSE(is_ablated(json));
}

// Each word is tried in real steps, if a step with this spread has its stages. The whole step passes its
// check. The arm enters all stages except those that it leaves out, and is not checked.
void try_words(BenchOptions options, const std::string& words) {
  options.stage_timing = true;
  options.schedule.iters = 1;
  std::vector<Ablation> ablations;
  const Point whole_point = expand_points(options, 2)[0];
  for (const std::string& word : split(words, '|')) {
    const Ablation ablation = parse_ablation(word);
    if (!ablation.stages.in_common_with(stages_of_step(whole_point.config)).empty())
      ablations.push_back(ablation);
  }
  const Job job;
  Yardstick yardstick({});
  Measurement measurement(options, with_ablations({whole_point}, ablations), job, yardstick, {});
  CommandResult command;
  measurement.prepare();
  measurement.time(&command);
  command.points = measurement.take_results();
  take_ablations(command);
  const PointResult& whole = command.points[0];
  EXPECT_EQ(whole.check.status, CheckStatus::passed) << whole.check.reason;
  EXPECT_EQ(whole.timed_region, stages_of_step(whole_point.config).names()) << whole.point.label;
  EXPECT_EQ(whole.arms.size(), ablations.size());
  for (const PointResult& arm : whole.arms) {
    const StageSet left_out = arm.point.config.block.ablation.stages;
    const StageSet exchange = parse_ablation("exchange").stages;  // which still pack and add rows
    std::vector<std::string> rest;
    for (const std::string& name : whole.timed_region) {
      const Stage stage = *value_named<Stage>(name);
      if (!left_out.has(stage) || exchange.has(stage)) rest.push_back(name);
    }
    EXPECT_EQ(arm.timed_region, rest) << arm.point.label;
    EXPECT_EQ(arm.check.status, CheckStatus::off);
    EXPECT_EQ(arm.check.reason, "not checked: ablated");
    EXPECT_FALSE(arm.trusted());
    EXPECT_EQ(arm.samples.size(), 1u);
    for (const Traffic& traffic : arm.traffic) {
      if (left_out.has(Stage::dispatch) && whole.point.config.num_devices > 1) {
        EXPECT_LT(traffic.sent_bytes, whole.traffic[0].sent_bytes) << arm.point.label;
      }
    }
  }
}

BenchOptions small_options() {
  BenchOptions options;
  options.shape = {24, 16, 8, 4, 2, 8, DType::f32};
  options.devices = 2;
  options.threads_per_device = 1;
  options.mesh = MeshKind::threads;
  options.schedule.warmup = 0;
  return options;
}

TEST(AblationArms, LeaveTheirStagesOutOnEveryPath) {
  BenchOptions options = small_options();
  try_words(options, ablation_words());
  options.modes = {ParallelMode::dp};
  try_words(options, "exchange|rows|experts");
  options.modes = {ParallelMode::ep};
  for (const Spread path : all_values<Spread>()) {
    options.ep_path = path;
    if (is_ep(path))
      try_words(options, path == Spread::fused ? ablation_words() : "exchange|rows|shared|combine");
  }
}

TEST(AblationArms, LeaveStagesOutThatFewStepsHave) {
  BenchOptions options = small_options();
  options.modes = {ParallelMode::ep};
  options.ep_path = Spread::fused;
  options.block.backend = Backend::ragged_dot;
  options.impls = {Impl::baseline};
  options.block.remat = Remat::expert_mlp;
  options.block.route_in_step = options.block.router_grad = true;
  try_words(options, "router|rows|pack|act|recompute|w13_grad");
}

}  // namespace
}  // namespace moehill
