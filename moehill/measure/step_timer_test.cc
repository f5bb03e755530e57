// Tests of the step timer on a made-up clock, which advances by a second whenever it is read.
#include "moehill/measure/step_timer.h"

#include <gtest/gtest.h>

#include <numeric>

namespace moehill {
namespace {

std::unique_ptr<Run> small_run(RunFactory& factory) {
  RunConfig config{.shape = {24, 16, 8, 4, 2, 0, DType::f32}};
  return factory.make(config);
}

TEST(StepTimer, StagesFillAStepButForItsTwoEnds) {
  RunFactory factory({}, 1, {});
  double now = 0;
  StepTimer timer(small_run(factory), 2, [&] { return now += 1; });
  EXPECT_EQ(timer.first_s, 1);  // nobody listens to the first step
  timer.step(1);
  EXPECT_EQ(timer.step_s[0], 0);
  ASSERT_EQ(timer.stage_s[1].size(), 1u);  // devices
  const std::vector<double>& stages = timer.stage_s[1][0];
  EXPECT_EQ(stages[static_cast<size_t>(Stage::plan)], 1);
  EXPECT_EQ(stages[static_cast<size_t>(Stage::up)], 1);
  EXPECT_EQ(stages[static_cast<size_t>(Stage::dispatch)], 0);
  EXPECT_EQ(std::accumulate(stages.begin(), stages.end(), 0.0), timer.step_s[1] - 2);
}

TEST(StepTimer, AStepThatIsRunAgainTakesThePlaceOfTheFirst) {
  RunFactory factory({}, 1, {});
  double now = 0, tick = 1;
  StepTimer timer(small_run(factory), 1, [&] { return now += tick; });
  timer.step(0);
  const double first = timer.step_s[0];
  tick = 3;
  timer.step(0);
  EXPECT_EQ(timer.step_s[0], 3 * first);
  ASSERT_EQ(timer.stage_s[0].size(), 1u);
  EXPECT_EQ(timer.stage_s[0][0][static_cast<size_t>(Stage::up)], 3);
}

}  // namespace
}  // namespace moehill
