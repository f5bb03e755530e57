// Tests of how the probe takes its rates from a block's stages, with made-up seconds.
#include "moehill/probe/probe_blocks.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

size_t at(Stage stage) { return static_cast<size_t>(stage); }

const StageWork& work_of(const TimedBlock& timed, Stage stage) {
  return *std::ranges::find(timed.work.front().stages, stage, &StageWork::stage);
}

// The block has 24 tokens with top-2, so 48 rows. The devices share the experts.
StepTimer made_up_timer(int devices, size_t num_steps) {
  RunFactory factory({.kind = Distribution::balanced}, 1, {});
  RunConfig config{.shape = {24, 16, 8, 4, 2, 0, DType::f32}};
  config.threads_per_device = 2;
  if (devices > 1) {
    config.spread = Spread::compact_psum;
    config.num_devices = devices;
    config.threads_per_device = 1;
  }
  StepTimer timer(factory.make(config), num_steps, [] { return 0.0; });
  timer.stage_s.assign(num_steps, std::vector<std::vector<double>>(static_cast<size_t>(devices),
                                                                   std::vector<double>(kNumStages, 1.0)));
  return timer;
}

TEST(TimedBlock, HasMediansOfTheStepsAddedUpOverDevices) {
  StepTimer timer = made_up_timer(2, 3);
  timer.step_s = {5, 1, 3};
  for (size_t i = 0; i < 3; ++i) {
    timer.stage_s[i][0][at(Stage::up)] = std::vector<double>{9, 2, 4}[i];
    timer.stage_s[i][1][at(Stage::up)] = std::vector<double>{1, 8, 7}[i];
  }
  const TimedBlock timed = timed_block(timer);
  EXPECT_EQ(timed.step_s, 3);
  EXPECT_EQ(timed.stage_s[at(Stage::up)], 4 + 7);
  EXPECT_EQ(timed.stage_s[at(Stage::down)], 2);
  EXPECT_EQ(timed.work.size(), 2u);
  EXPECT_EQ(timed.units, 1);
  // Steps that were not asked for are not counted.
  timer.step_s.resize(1);
  EXPECT_EQ(timed_block(timer).stage_s[at(Stage::up)], 9 + 1);
}

TEST(Points, AreSharesOfThePeakOfAllUnits) {
  TimedBlock timed = timed_block(made_up_timer(1, 1));
  Hardware h;
  h.peak_f32 = 1e9;
  const double up = 2 * 48 * 16 * 16, down = 2 * 48 * 8 * 16;  // FLOPs: rows, H, gate and up of M
  timed.stage_s[at(Stage::up)] = up / (0.5 * 2e9);             // two units
  timed.stage_s[at(Stage::down)] = down / (0.25 * 2e9);
  timed.stage_s[at(Stage::w2_grad)] = 1e-12;  // faster than the peak
  std::array<GemmCurve, 2> curves;
  for (GemmCurve& curve : curves) curve.dtype = DType::f32;
  add_points(timed, 12, h, curves);
  add_points(timed, 24, h, curves);
  EXPECT_EQ(curves[0].rows, (std::vector<double>{12, 24}));
  EXPECT_EQ(curves[0].k, 16);
  EXPECT_EQ(curves[1].k, 8);
  EXPECT_EQ(curves[1].n, 16);
  const auto fraction = [&](size_t product, GemmDirection direction) {
    return curves[product].fraction[static_cast<int>(direction)].at(1);
  };
  EXPECT_DOUBLE_EQ(fraction(0, GemmDirection::forward), 0.5);
  EXPECT_DOUBLE_EQ(fraction(1, GemmDirection::forward), 0.25);
  EXPECT_EQ(fraction(1, GemmDirection::weight_grad), 1);
}

TEST(RowRates, AreTheBytesOfAStageOverItsSecondsAndUnits) {
  TimedBlock timed = timed_block(made_up_timer(1, 1));
  timed.stage_s[at(Stage::combine)] = 2;
  timed.stage_s[at(Stage::act_grad)] = 4;
  timed.stage_s[at(Stage::plan)] = 6;
  timed.stage_s[at(Stage::combine_grad)] = 10;
  Hardware h;
  set_row_rates(timed, h);
  const double combine = work_of(timed, Stage::combine).rows.combine;
  EXPECT_DOUBLE_EQ(h.rows.combine, combine / 2 / 2);
  EXPECT_DOUBLE_EQ(h.rows.swiglu, work_of(timed, Stage::act_grad).rows.swiglu / 4 / 2);
  EXPECT_DOUBLE_EQ(h.plan_s_per_assignment, 6.0 * 2 / 48);
  // The stage of dx contains a combine of as many bytes, which takes 2 s. The rest of its time is for
  // gathered rows.
  const RowBytes& mixed = work_of(timed, Stage::combine_grad).rows;
  ASSERT_DOUBLE_EQ(mixed.combine, combine);
  EXPECT_DOUBLE_EQ(h.rows.gather, mixed.gather / (10 - 2) / 2);
  timed.stage_s[at(Stage::combine_grad)] = 1;  // less than its combine: noise
  set_row_rates(timed, h);
  EXPECT_DOUBLE_EQ(h.rows.gather, mixed.gather / (0.2 * 2) / 2);
}

TEST(FixedCosts, AreWhatAStepWithNextToNoWorkTakes) {
  TimedBlock timed = timed_block(made_up_timer(1, 1));
  double num_stages = 0;  // products count one by one
  for (const StageWork& stage : timed.work.front().stages)
    num_stages += stage.stage == Stage::plan ? 0 : std::max(1.0, static_cast<double>(stage.gemms.size()));
  timed.stage_s[at(Stage::plan)] = 5;
  timed.step_s = 5 + 2 * num_stages;
  Hardware h;
  set_fixed_costs(timed, h);
  EXPECT_DOUBLE_EQ(h.stage_s, 2);
  EXPECT_DOUBLE_EQ(h.start_s, 3);
  timed.stage_s[at(Stage::plan)] = 1;
  timed.step_s = 1 + 2 * num_stages;
  set_fixed_costs(timed, h);
  EXPECT_EQ(h.start_s, 0);  // never below
}

}  // namespace
}  // namespace moehill
