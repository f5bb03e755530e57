// Tests of the figures of made-up results, whose values are computed by hand.
#include "moehill/measure/results.h"

#include <gtest/gtest.h>

#include "moehill/measure/results_fixture.h"

namespace moehill {
namespace {

std::vector<double> stages_with(Stage stage, double seconds) {
  std::vector<double> stages(kNumStages);
  stages[static_cast<size_t>(stage)] = seconds;
  return stages;
}

TEST(DeviceSeconds, BusyIsWithoutTheStagesThatExchangeRows) {
  DeviceSeconds device{stages_with(Stage::up, 3), 0.5};
  for (const Stage stage : {Stage::dispatch, Stage::reduce, Stage::dispatch_grad, Stage::reduce_grad})
    device.stages[static_cast<size_t>(stage)] = 7;
  EXPECT_DOUBLE_EQ(device.busy(), 3);
}

TEST(Figures, AreByTheMedian) {
  const PointResult result = made_up_result(Spread::none, 0.5);
  const double flops = 3 * (6.0 * 2000 * 100 * 50 + 6.0 * 1000 * 100 * 30);
  EXPECT_DOUBLE_EQ(model_flops_per_s(result), flops / 0.5);
  EXPECT_DOUBLE_EQ(executed_flops_per_s(result), 2e9);
  EXPECT_DOUBLE_EQ(tokens_per_s(result), 2000);
  EXPECT_DOUBLE_EQ(peak_fraction(result), 2e9 / 2e11);  // of bf16's
}

TEST(StagesOfMedian, AreThoseOfTheNearestStepsBusiestDevice) {
  PointResult result = made_up_result(Spread::compact_psum, 1);
  result.samples = {5, 1, 4, 9, 6};  // the median is that of the first round
  result.stage_samples.assign(5, std::vector<DeviceSeconds>(2, {stages_with(Stage::up, 0.1), 0}));
  result.stage_samples[0] = {{stages_with(Stage::up, 2), 0.5}, {stages_with(Stage::down, 4), 0.25}};
  const StageSeconds stages = stages_of_median(result);
  EXPECT_EQ(stages.step, 5);
  EXPECT_EQ(stages.slowest, 1u);
  EXPECT_EQ(stages.seconds[static_cast<size_t>(Stage::down)], 4);
  EXPECT_DOUBLE_EQ(stages.unaccounted, 1);
  EXPECT_TRUE(stages.too_much_unaccounted());  // a fifth of the step
  EXPECT_DOUBLE_EQ(stages.busy_max_over_mean, 4 / 3.0);
}

TEST(CompareModes, PairsTrustedPointsThatDifferInNothingElse) {
  CommandResult command = made_up_command();
  command.points.push_back(made_up_result(Spread::compact_psum, 0.3));
  command.points.back().point.config.shape.topk = 4;  // another problem
  const std::vector<Comparison> pairs = compare_modes(command.points, 0);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0].none, 0u);
  EXPECT_EQ(pairs[0].ep, 1u);
  EXPECT_NEAR(pairs[0].ratio.ratio, 0.5, 1e-12);
  command.points[0].point.axes = {{"parallel-mode", "none"}};
  command.points[1].point.axes = {{"parallel-mode", "ep"}, {"wire", "fp8+scales"}};
  EXPECT_EQ(compare_modes(command.points, 0).size(), 1u);
  command.points[1].point.axes.emplace_back("remat-mode", "combine");
  EXPECT_TRUE(compare_modes(command.points, 0).empty());
  command.points[1].point.axes.pop_back();
  command.points[0].check.status = CheckStatus::failed;
  EXPECT_TRUE(compare_modes(command.points, 0).empty());
}

// The wire is an option of expert parallelism only, so every `none` has the problem of every `ep`.
TEST(CompareModes, EachEpHasTheNoneOfItsOwnValues) {
  CommandResult command = made_up_command();
  command.points.push_back(made_up_result(Spread::none, 0.1));
  command.points.push_back(made_up_result(Spread::compact_psum, 0.2));
  for (size_t i = 0; i < 4; ++i) command.points[i].point.axes = {{"wire", i < 2 ? "native" : "bf16"}};
  const std::vector<Comparison> pairs = compare_modes(command.points, 0);
  ASSERT_EQ(pairs.size(), 2u);
  EXPECT_EQ(pairs[0].none, 0u);
  EXPECT_EQ(pairs[0].ep, 1u);
  EXPECT_EQ(pairs[1].none, 2u);
  EXPECT_EQ(pairs[1].ep, 3u);
  command.points[2].check.status = CheckStatus::failed;  // the other one computes the same
  const std::vector<Comparison> rest = compare_modes(command.points, 0);
  ASSERT_EQ(rest.size(), 2u);
  EXPECT_EQ(rest[1].none, 0u);
  EXPECT_EQ(rest[1].ep, 3u);
}

TEST(ComparePaths, PairsFusedWithTheOthersOfItsShape) {
  CommandResult command = made_up_command();
  command.points.push_back(command.points[0]);
  const ProfilePath paths[] = {ProfilePath::ref_dp, ProfilePath::fused_ep, ProfilePath::staged_dp};
  for (size_t i = 0; i < 3; ++i) command.points[i].point.path = paths[i];
  command.points[2].point.config.shape.tokens = 7;
  const std::vector<Comparison> pairs = compare_paths(command.points, 0);
  ASSERT_EQ(pairs.size(), 1u);
  EXPECT_EQ(pairs[0].none, 0u);
  EXPECT_EQ(pairs[0].ep, 1u);
}

TEST(TakeOverlaps, PartsBecomeTheirPointsFigure) {
  CommandResult command;
  command.points = {made_up_result(Spread::none, 0.1), made_up_result(Spread::fused, 0.2),
                    made_up_result(Spread::fused, 0.15), made_up_result(Spread::fused, 0.1)};
  command.points[2].point.config.block.part = StepPart::computation;
  command.points[3].point.config.block.part = StepPart::communication;
  take_overlaps(command);
  ASSERT_EQ(command.points.size(), 2u);
  EXPECT_FALSE(command.points[0].overlap);
  ASSERT_TRUE(command.points[1].overlap);
  EXPECT_DOUBLE_EQ(command.points[1].overlap->both, 0.2);
  EXPECT_NEAR(command.points[1].overlap->hidden.median, (0.15 + 0.1 - 0.2) / 0.1, 1e-12);
}

TEST(ImpossibleFigure, IsAbovePeakOrMemory) {
  PointResult result = made_up_result(Spread::none, 1);
  EXPECT_EQ(impossible_figure(result, 0), "");
  result.executed_flops = 1.06 * result.peak().best;
  EXPECT_NE(impossible_figure(result, 0).find("dot"), std::string::npos);
  result.executed_flops = 1e9;
  result.operand_bytes = 1.3 * result.peaks.read.max;
  EXPECT_NE(impossible_figure(result, 0).find("GB/s of memory"), std::string::npos);
  EXPECT_EQ(impossible_figure(result, result.operand_bytes), "");  // they may all have been in caches
  result.read_before_steps = 1.1 * result.peaks.read.max;
  EXPECT_EQ(impossible_figure(result, 0), "") << "memory was faster while the steps ran";
  result.check.status = CheckStatus::failed;
  EXPECT_EQ(impossible_figure(result, 0), "");  // there is no figure
}

// The step of the fixture has 2.34e8 FLOPs by the model.
TEST(ImpossibleFigure, IsWorkThatAPathDidNotCount) {
  PointResult result = made_up_result(Spread::compact_psum, 1);
  const double model = model_flops_per_s(result);
  result.executed_flops = model * (1 - 1e-12);
  EXPECT_EQ(impossible_figure(result, 0), "") << "a rounding error";
  result.executed_flops = model * (1 - 1e-6);
  EXPECT_NE(impossible_figure(result, 0).find("GFLOP of work"), std::string::npos);
  result.num_dropped = 1;
  EXPECT_EQ(impossible_figure(result, 0), "") << "a dropped assignment is no work";
  result.executed_flops = 0;
  result.point.config.block.ablation = parse_ablation("shared");
  EXPECT_EQ(impossible_figure(result, 0), "") << "an ablated step leaves work out";
}

TEST(ImpossibleFigure, IsFewerBytesThanAnyPathMoves) {
  PointResult result = made_up_result(Spread::compact_psum, 1);
  const auto set = [&](Move move, uint64_t bytes) { result.moved_bytes[static_cast<size_t>(move)] = bytes; };
  result.lower_bound_bytes = 130;  // as many as the fixture's rows and gradients
  EXPECT_EQ(impossible_figure(result, 0), "");
  result.lower_bound_bytes = 131;
  EXPECT_NE(impossible_figure(result, 0).find("rows and gradients"), std::string::npos);
  set(Move::metadata, 1000);
  EXPECT_NE(impossible_figure(result, 0), "") << "metadata are no rows";
  set(Move::dispatch, 61);
  EXPECT_EQ(impossible_figure(result, 0), "");
}

// A row of 100 values has 200 bytes, and on the wire 100 with one scale of 4. Its sum comes back as it is.
TEST(ImpossibleFigure, RowsOnTheWireAreShorter) {
  PointResult result = made_up_result(Spread::fused, 1);
  result.moved_bytes = {104, 200, 0, 10};
  result.lower_bound_bytes = 400;
  EXPECT_NE(impossible_figure(result, 0), "");
  result.point.config.wire = Wire::fp8_scales;
  EXPECT_EQ(impossible_figure(result, 0), "");
  result.moved_bytes[0] = 103;
  EXPECT_NE(impossible_figure(result, 0), "");
}

// Three of seven steps are too fast, which the median does not show.
TEST(ImpossibleFigure, IsOfTheSecondSmallestSample) {
  PointResult result = made_up_result(Spread::none, 1);
  const double least = result.executed_flops / (kMostOfPeak * result.peak().best);
  result.samples = {1, 0.9 * least, 1, 0.8 * least, 1, 0.9 * least, 1};
  EXPECT_NE(impossible_figure(result, 0).find("dot"), std::string::npos);
  result.samples = {1, 1.1 * least, 1, 0.8 * least, 1, 1.1 * least, 1};
  EXPECT_EQ(impossible_figure(result, 0), "") << "one sample may be a slip of the clock";
  result.samples = {1, 0.9 * least, 1, 0.8 * least};
  EXPECT_EQ(impossible_figure(result, 0), "") << "the median of few";
  result.samples = {1, 0.5, 1, 0.5, 1};
  result.operand_bytes = 0.5 * 1.3 * result.peaks.read.max;
  EXPECT_NE(impossible_figure(result, 0).find("GB/s of memory"), std::string::npos);
}

}  // namespace
}  // namespace moehill
