// Tests of the timeline of made-up events: tracks, arrows, and what a stage worked on.
#include "moehill/measure/timeline.h"

#include <gtest/gtest.h>

#include <map>

#include "moehill/measure/results_fixture.h"
#include "moehill/parallel/work_problem.h"

namespace moehill {
namespace {

int at(Stage stage) { return static_cast<int>(stage); }

// There are two devices of ragged_a2a. Each sends the other the row of one token.
PointResult traced_result() {
  PointResult result = made_up_result(Spread::ragged_a2a, 1);
  result.point.config.shape = {4, 16, 16, 4, 2, 0, DType::f32};
  const Routing routing{4, 4, 2, {0, 1, 1, 2, 3, 2, 0, 3}, std::vector<float>(8, 0.5f)};
  const PlanCounts counts = count_plan(routing, {}, 2);
  result.work = all_work(work_problem(result.point.config), counts);
  result.pair_rows = counts.pairs;
  const DeviceEvents early{
      {{at(Stage::dispatch), 1, 2}, {at(Stage::up), 2, 4}, {at(Stage::up), 5, 6}}, {{1, 1.5}}, 0};
  const DeviceEvents late{{{at(Stage::dispatch), 1.5, 2.5}, {at(Stage::up), 2.5, 3}}, {}, 3};
  result.events = {{early, late}};
  return result;
}

TEST(Timeline, HasATrackForTheStepItsStagesAndItsWaits) {
  const Trace trace = make_timeline(traced_result(), 1e-6);
  ASSERT_EQ(trace.devices.size(), 2u);
  const std::vector<TraceSlice>& slices = trace.devices[0].slices;
  ASSERT_EQ(slices.size(), 5u);
  EXPECT_EQ(slices[0].name, "step 0");
  EXPECT_EQ(slices[0].begin, 1);
  EXPECT_EQ(slices[0].end, 6);
  EXPECT_EQ(trace.tracks[static_cast<size_t>(slices[1].track)], "communication");
  EXPECT_EQ(trace.tracks[static_cast<size_t>(slices[2].track)], "compute");
  EXPECT_EQ(trace.tracks[static_cast<size_t>(slices[4].track)], "waiting");
}

TEST(Timeline, ArrowsCarryTheRowsOfAPair) {
  const PointResult result = traced_result();
  const Trace trace = make_timeline(result, 0);
  ASSERT_EQ(trace.flows.size(), 2u);  // both ways
  for (const TraceFlow& flow : trace.flows) {
    EXPECT_EQ(flow.name, "dispatch");
    EXPECT_NE(flow.from.device, flow.to.device);
    const int64_t rows = result.pair_rows[flow.from.device * 2 + flow.to.device];
    EXPECT_EQ(std::get<int64_t>(flow.arguments.at(0).second), rows);
    EXPECT_GT(rows, 0);
  }
}

TEST(Timeline, NoArrowGoesBackInTime) {
  PointResult result = traced_result();
  for (auto& stage : result.events[0][1].stages) {  // the late device begins when the other one has sent all
    stage.begin += 1;
    stage.end += 1;
  }
  const Trace trace = make_timeline(result, 0);
  ASSERT_EQ(trace.flows.size(), 1u);
  EXPECT_EQ(trace.flows[0].from.device, 0u);
}

// Returns what the first slice with experts says of them.
std::string experts_of(const Trace& trace, size_t device) {
  for (const TraceSlice& slice : trace.devices[device].slices) {
    const std::map<std::string, TraceValue> facts(slice.arguments.begin(), slice.arguments.end());
    if (facts.contains("expert")) return std::get<std::string>(facts.at("expert"));
  }
  return "no such slice";
}

// With more devices than experts, a device may have none.
TEST(Timeline, ADeviceWithoutExpertsSaysSo) {
  PointResult result = traced_result();
  result.point.config.shape = {4, 16, 16, 1, 1, 0, DType::f32};
  const Routing routing{4, 1, 1, {0, 0, 0, 0}, std::vector<float>(4, 1.0f)};
  result.work = all_work(work_problem(result.point.config), count_plan(routing, {}, 2));
  result.pair_rows = count_plan(routing, {}, 2).pairs;
  const Trace trace = make_timeline(result, 0);
  EXPECT_EQ(experts_of(trace, 0), "none");
  EXPECT_EQ(experts_of(trace, 1), "0-0");
}

// Each device has three places, with copies of two experts.
TEST(Timeline, APlacementSaysWhichExpertsADeviceHas) {
  PointResult result = traced_result();
  EXPECT_EQ(experts_of(make_timeline(result, 0), 0), "0-1");
  result.point.config.placement = {3, 0, 2, 1, 2, 0};
  const Trace trace = make_timeline(result, 0);
  EXPECT_EQ(experts_of(trace, 0), "3,0,2");
  EXPECT_EQ(experts_of(trace, 1), "1,2,0");
}

TEST(Timeline, FactsTellWhatIsMissing) {
  const Trace trace = make_timeline(traced_result(), 2e-6);
  std::map<std::string, TraceValue> facts(trace.facts.begin(), trace.facts.end());
  EXPECT_EQ(std::get<int64_t>(facts.at("dropped_events")), 3);
  EXPECT_DOUBLE_EQ(std::get<double>(facts.at("clock_uncertainty_us")), 2);
  EXPECT_EQ(timeline_cost(traced_result()).num_events, 4u);  // of the device with the most
  EXPECT_EQ(timeline_cost({}).num_events, 0u);
}

}  // namespace
}  // namespace moehill
