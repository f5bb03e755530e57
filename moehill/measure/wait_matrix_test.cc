// Tests of which device waited for which, from made-up times.
#include "moehill/measure/wait_matrix.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

StageInterval in(Stage stage, double begin, double end) { return {static_cast<int>(stage), begin, end}; }

Wait wait(double begin, double end) { return {.begin = begin, .end = end, .came = begin}; }

// Device 1 is late at the first meeting (up until 5, down until 6), device 0 at the second.
StepEvents two_devices() {
  return {{{in(Stage::up, 0, 2), in(Stage::reduce, 2, 7), in(Stage::up_grad, 7, 12),
            in(Stage::reduce_grad, 12, 13)},
           {wait(2, 6.5), wait(12, 12)},
           0},
          {{in(Stage::up, 0, 5), in(Stage::down, 5, 6), in(Stage::reduce, 6, 7), in(Stage::up_grad, 7, 9),
            in(Stage::reduce_grad, 9, 13)},
           {wait(6, 6), wait(9, 12)},
           0}};
}

TEST(WaitMatrix, TheLastToComeIsWaitedFor) {
  EXPECT_EQ(wait_entries(two_devices()),
            (std::vector<WaitEntry>{{Stage::reduce, 0, 1, Stage::up, 3},
                                    {Stage::reduce_grad, 1, 0, Stage::up_grad, 3},
                                    {Stage::reduce, 0, 1, Stage::down, 1},
                                    {Stage::reduce, 0, 1, Stage::reduce, 0.5}}));
}

TEST(WaitMatrix, TheSumIsThatOfAllWaits) {
  StepEvents events = two_devices();
  events.push_back({{in(Stage::up, 0, 1), in(Stage::reduce, 1, 8), in(Stage::reduce_grad, 8, 13)},
                    {wait(1, 7), wait(8, 12.5)},
                    0});
  double sum = 0;
  for (const WaitEntry& e : wait_entries(events)) {
    EXPECT_NE(e.device, e.other);
    sum += e.seconds;
  }
  EXPECT_DOUBLE_EQ(sum, 4.5 + 3 + 6 + 4.5);
}

TEST(WaitMatrix, NamesOnlyStagesThatTheDevicesEntered) {
  const StepEvents events = {{{in(Stage::plan, 2, 3)}, {wait(0, 1)}, 0},
                             {{in(Stage::up, 2, 3)}, {wait(1, 1)}, 0}};
  EXPECT_EQ(wait_entries(events), (std::vector<WaitEntry>{{Stage::plan, 0, 1, Stage::up, 1}}));
  EXPECT_TRUE(wait_entries({{{}, {wait(0, 1)}, 0}, {{}, {wait(1, 1)}, 0}}).empty());
}

TEST(WaitMatrix, NothingIsSaidWhereTheMeetingsDoNotMatch) {
  StepEvents events = two_devices();
  events[1].waits.pop_back();
  EXPECT_TRUE(wait_entries(events).empty());
  events = two_devices();
  events[0].num_dropped = 1;
  EXPECT_TRUE(wait_entries(events).empty());
  EXPECT_TRUE(wait_entries({}).empty());
}

// Devices 0 and 1 are one node, 2 is another. Each collective has a wait within the node and a wait between
// nodes for the others' announcements. Device 2 announces late, and device 0 comes late within its node.
StepEvents two_nodes() {
  const auto device = [](int node, double came_to_node, double node_end, double announced, double end) {
    return DeviceEvents{{in(Stage::up, 0, announced), in(Stage::reduce, announced, 10)},
                        {{.begin = came_to_node, .end = node_end, .came = came_to_node, .node = node},
                         {.begin = node_end, .end = end, .came = announced, .node = node, .across = true}},
                        0};
  };
  return {device(0, 4, 4, 3, 9), device(0, 2, 4, 2, 9), device(2, 8, 8, 8, 8.5)};
}

TEST(WaitMatrix, DevicesOfOtherNodesAreWaitedForOnlyWhereTheyComeLater) {
  EXPECT_EQ(wait_entries(two_nodes()), (std::vector<WaitEntry>{{Stage::reduce, 0, 2, Stage::up, 4},
                                                               {Stage::reduce, 1, 2, Stage::up, 4},
                                                               {Stage::reduce, 0, 2, Stage::reduce, 1},
                                                               {Stage::reduce, 1, 0, Stage::up, 1},
                                                               {Stage::reduce, 1, 0, Stage::reduce, 1},
                                                               {Stage::reduce, 1, 2, Stage::reduce, 1}}));
}

TEST(WaitMatrix, TheSentenceNamesTheCulpritAndItsWork) {
  EXPECT_EQ(
      culprit_sentence(wait_entries(two_devices())),
      "Device 1 is waited for most: 4500.00 of 7500.00 ms that devices wait for each other, 3000.00 of them "
      "while it is in up; the others wait in reduce.");
  EXPECT_EQ(culprit_sentence({}), "");
}

}  // namespace
}  // namespace moehill
