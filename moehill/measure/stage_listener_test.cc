// Tests of stages on a made-up clock: seconds, visits, waits and intervals of each device.
#include "moehill/measure/stage_listener.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(DeviceStages, KeepEachDevicesSecondsByTheClockTheyAreGiven) {
  double now = 0;
  DeviceStages stages(2, [&] { return now; });
  const std::vector<StageListener*> listeners = stages.listeners();
  ASSERT_EQ(listeners.size(), 2u);
  listeners[0]->enter(Stage::plan);
  now = 1;
  listeners[0]->enter(Stage::up);
  now = 4;
  listeners[1]->enter(Stage::down);
  now = 4.5;
  listeners[0]->finish();
  listeners[0]->enter(Stage::up);  // once more: times add up
  now = 5;
  for (StageListener* listener : listeners) listener->finish();
  EXPECT_EQ(stages.seconds(0)[static_cast<size_t>(Stage::plan)], 1);
  EXPECT_EQ(stages.seconds(0)[static_cast<size_t>(Stage::up)], 4);
  EXPECT_EQ(stages.seconds(1)[static_cast<size_t>(Stage::down)], 1);
  EXPECT_TRUE(stages.entered(static_cast<int>(Stage::down)));
  EXPECT_FALSE(stages.entered(static_cast<int>(Stage::combine)));
}

TEST(DeviceStages, CountTheHandOversOfEachStageAndNoOthers) {
  DeviceStages stages(1, [] { return 0.0; });
  ThreadTeam team(2);
  StageListener& listener = *stages.listeners()[0];
  const auto hand_over = [&] { team.run([](int) {}); };
  hand_over();  // before the step
  listener.begin(team);
  listener.enter(Stage::plan);
  listener.enter(Stage::up);
  hand_over();
  listener.enter(Stage::shared);
  hand_over();
  hand_over();
  listener.enter(Stage::up);
  hand_over();
  listener.finish();
  hand_over();  // between two steps
  listener.begin(team);
  listener.enter(Stage::plan);
  listener.finish();
  EXPECT_EQ(stages.hand_overs(0)[static_cast<size_t>(Stage::plan)], 0);
  EXPECT_EQ(stages.hand_overs(0)[static_cast<size_t>(Stage::up)], 2);
  EXPECT_EQ(stages.hand_overs(0)[static_cast<size_t>(Stage::shared)], 2);
  stages.restart();
  EXPECT_EQ(stages.hand_overs(0)[static_cast<size_t>(Stage::up)], 0);
}

TEST(DeviceStages, RestartForgetsStepAndWaits) {
  double now = 0;
  DeviceStages stages(1, [&] { return now; });
  stages.listeners()[0]->enter(Stage::reduce);
  now = 2;
  stages.listeners()[0]->waited({.begin = 0.5, .end = 1.5});
  stages.listeners()[0]->finish();
  const StepEvents events = stages.events();
  ASSERT_EQ(events.size(), 1u);
  ASSERT_EQ(events[0].stages.size(), 1u);
  EXPECT_EQ(events[0].stages[0].end, 2);
  ASSERT_EQ(events[0].waits.size(), 1u);
  EXPECT_EQ(events[0].waits[0].end, 1.5);
  stages.restart();
  EXPECT_TRUE(stages.events()[0].stages.empty());
  EXPECT_TRUE(stages.events()[0].waits.empty());
  EXPECT_EQ(stages.seconds(0)[static_cast<size_t>(Stage::reduce)], 0);
}

TEST(DeviceStages, CountWhatDoesNotFit) {
  DeviceStages stages(1, [] { return 0.0; });
  for (int i = 0; i < 5000; ++i) stages.listeners()[0]->waited({.begin = 0, .end = 1});
  const DeviceEvents events = stages.events()[0];
  EXPECT_EQ(static_cast<int64_t>(events.waits.size()) + events.num_dropped, 5000);
  EXPECT_GT(events.num_dropped, 0);
}

}  // namespace
}  // namespace moehill
