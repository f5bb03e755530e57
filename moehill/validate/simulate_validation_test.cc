// Tests of the comparison of simulated steps with measured ones.
#include "moehill/validate/simulate_validation.h"

#include <gtest/gtest.h>

#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

Hardware two_cores() { return load_hardware("epyc-2-core"); }

TEST(SharedCores, EveryRateIsAShareOfACore) {
  const Hardware whole = two_cores(), same = with_shared_cores(whole, 2, 1),
                 half = with_shared_cores(whole, 4, 1);
  EXPECT_EQ(same.peak_bf16, whole.peak_bf16);
  EXPECT_EQ(same.topology.devices_per_node, 2);
  EXPECT_DOUBLE_EQ(half.peak_bf16, whole.peak_bf16 / 2);
  EXPECT_DOUBLE_EQ(half.rows.combine, whole.rows.combine / 2);
  EXPECT_DOUBLE_EQ(half.stage_s, whole.stage_s * 2);
  EXPECT_EQ(half.topology.devices_per_node, 4);
  EXPECT_DOUBLE_EQ(half.node_memory_bytes_per_s, whole.node_memory_bytes_per_s);
}

TEST(SharedCores, NodesOfAClusterAreLeftAlone) {
  const Hardware cluster = load_hardware("epyc-cluster");
  EXPECT_EQ(with_shared_cores(cluster, 1024, cluster.units_per_device).peak_bf16, cluster.peak_bf16);
}

TEST(SimulatedRuns, TheReportGivesErrorsByDevices) {
  RunConfig two{
      .shape = {64, 64, 64, 4, 2, 0, DType::bf16}, .spread = Spread::compact_psum, .num_devices = 2};
  RunConfig four = two;
  four.num_devices = 4;
  const std::string text = simulated_runs_report({{two, 1.1, 1.0}, {four, 0.5, 1.0}}, two_cores());
  EXPECT_NE(text.find("2 devices: 1 steps, median error 10.0 %"), std::string::npos) << text;
  EXPECT_NE(text.find("4 devices, which share 2 cores: 1 steps, median error 50.0 %"), std::string::npos)
      << text;
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
