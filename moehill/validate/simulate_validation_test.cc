// Tests of the comparison of simulated steps with measured ones.
#include "moehill/validate/simulate_validation.h"

#include <gtest/gtest.h>

#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"
#include "moehill/measure/make_record.h"

namespace moehill {
namespace {

Hardware two_cores() { return load_hardware("epyc-2-core"); }

TEST(SimulatedRuns, TheReportGivesErrorsByDevices) {
  RunConfig two{
      .shape = {64, 64, 64, 4, 2, 0, DType::bf16}, .spread = Spread::compact_psum, .num_devices = 2};
  RunConfig four = two;
  four.num_devices = 4;
  const std::string text = simulated_runs_report({{two, 1.1, 1.0}, {four, 0.5, 1.0}}, two_cores());
  EXPECT_NE(text.find("2 devices: 1 step, median error 10.0 %"), std::string::npos) << text;
  EXPECT_NE(text.find("4 devices, which share 2 cores: 1 step, median error 50.0 %"), std::string::npos)
      << text;
}

TEST(SimulatedRuns, TheReportSaysOnHowManyNodes) {
  RunConfig config{
      .shape = {64, 64, 64, 4, 2, 0, DType::bf16}, .spread = Spread::compact_psum, .num_devices = 4};
  EXPECT_NE(simulated_runs_report({{config, 1.1, 1.0}}, two_cores()).find("1 node x 4 devices x 1 thread"),
            std::string::npos);
  config.num_devices = 16;
  EXPECT_NE(simulated_runs_report({{config, 1.1, 1.0}}, load_hardware("epyc-cluster"))
                .find("2 nodes x 8 devices x 1 core"),
            std::string::npos);
}

// Four devices of two threads on two cores are as unlike four of one as those are unlike two.
TEST(SimulatedRuns, UnlikeLayoutsHaveErrorsOfTheirOwn) {
  RunConfig one{
      .shape = {64, 64, 64, 4, 2, 0, DType::bf16}, .spread = Spread::compact_psum, .num_devices = 4};
  RunConfig two = one;
  two.threads_per_device = 2;
  const std::string text = simulated_runs_report({{one, 1.1, 1.0}, {two, 2.0, 1.0}}, two_cores());
  EXPECT_NE(text.find("4 devices, which share 2 cores: 1 step, median error 10.0 %"), std::string::npos)
      << text;
  EXPECT_NE(text.find("4 devices of 2 threads, which share 2 cores: 1 step, median error 100.0 %"),
            std::string::npos)
      << text;
  // Nothing simulates chips or nodes as shared.
  EXPECT_EQ(simulated_runs_report({{two, 2.0, 1.0}}, load_hardware("h100-node")).find("which share"),
            std::string::npos);
}

// Returns the report of a record of this step.
std::string report_of(const RunConfig& config) {
  const TemporaryFolder folder;
  const std::string file = folder.file("record.jsonl");
  BenchOptions options;
  options.shape = config.shape;
  Point point;
  point.config = config;
  const Json record = {{"command", "bench"},
                       {"config", json_of(recorded_config(options, point))},
                       {"layout", {{"devices", 2}, {"threads_per_device", 1}}},
                       {"time_s", {{"median", 0.5}}},
                       {"check", {{"status", "passed"}}},
                       {"peak", {{"tflops_measured", nullptr}, {"read_gbps", nullptr}}},
                       {"stages", {{"forward", Json::object()}, {"backward", Json::object()}}}};
  std::ofstream(file) << record.dump() << "\n";
  const std::vector<SimulatedRun> runs = simulate_records(file, two_cores());
  EXPECT_EQ(runs.size(), 1u);
  return simulated_runs_report(runs, two_cores());
}

// The model has no speeds of ragged_dot and no stage of a router, so an error of such a step would be that of
// another step.
TEST(SimulatedRuns, StepsThatTheModelDoesNotCoverHaveNoError) {
  RunConfig ragged_dot{
      .shape = {64, 64, 64, 4, 2, 0, DType::bf16}, .spread = Spread::ring_ag_rs, .num_devices = 2};
  RunConfig routing = ragged_dot;
  ragged_dot.block.backend = Backend::ragged_dot;
  routing.block.route_in_step = true;
  const std::pair<RunConfig, const char*> steps[] = {
      {ragged_dot, "not simulated: the probe has no speeds of the backend ragged_dot"},
      {routing, "not simulated: the model has no stage of the router"}};
  for (const auto& [config, why] : steps) {
    const std::string text = report_of(config);
    EXPECT_NE(text.find(why), std::string::npos) << text;
    EXPECT_EQ(text.find("median error"), std::string::npos) << text;
  }
}

TEST(SimulatedRuns, RecordsWithoutStepsOfSeveralDevicesAreRefused) {
  const TemporaryFolder folder;
  const std::string file = folder.file("no_steps.json");
  std::ofstream(file) << "{\"command\": \"kernels\"}\n";
  EXPECT_THROW(simulate_records(file, two_cores()), InputError);
  EXPECT_THROW(simulate_records(file + ".absent", two_cores()), InputError);
}

}  // namespace
}  // namespace moehill
