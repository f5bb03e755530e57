// Tests of events: the events of one process come back unchanged, and the events of a process with another
// clock are shifted.
#include "moehill/measure/device_events.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(DeviceEvents, ComeBackByStepAndDevice) {
  const std::vector<StepEvents> steps = {{{{{3, 1, 2}, {4, 2, 3}}, {{2.5, 2.75}}, 0}, {{{3, 1, 4}}, {}, 7}},
                                         {{{}, {}, 0}, {{{5, 9, 10}}, {{9, 9.5}, {9.5, 10}}, 1}}};
  const std::vector<ClockReading> clocks(1);
  const std::vector<StepEvents> back = gather_events({}, steps, clocks, clocks);
  ASSERT_EQ(back.size(), 2u);
  ASSERT_EQ(back[0].size(), 2u);
  ASSERT_EQ(back[0][0].stages.size(), 2u);
  EXPECT_EQ(back[0][0].stages[1].stage, 4);
  EXPECT_EQ(back[0][0].stages[1].end, 3);
  EXPECT_EQ(back[0][0].waits[0].begin, 2.5);
  EXPECT_EQ(back[0][1].num_dropped, 7);
  EXPECT_TRUE(back[1][0].stages.empty());
  ASSERT_EQ(back[1][1].waits.size(), 2u);
  EXPECT_EQ(back[1][1].waits[1].end, 10);
}

TEST(DeviceEvents, AreMovedToTheFirstClock) {
  const std::vector<StepEvents> steps = {{{{{0, 5, 6}}, {{5, 5.5}}, 0}}};
  const std::vector<ClockReading> clocks = {{0, 100, 0}};
  const std::vector<StepEvents> back = gather_events({}, steps, clocks, clocks);
  EXPECT_EQ(back[0][0].stages[0].begin, 105);
  EXPECT_EQ(back[0][0].waits[0].end, 105.5);
}

TEST(DeviceEvents, NoSteps) { EXPECT_TRUE(gather_events({}, {}, {{}}, {{}}).empty()); }

}  // namespace
}  // namespace moehill
