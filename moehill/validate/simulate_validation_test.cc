// Tests of the comparison of simulated steps with measured ones.
#include "moehill/validate/simulate_validation.h"

#include <gtest/gtest.h>

#include <fstream>

#include "moehill/base/error.h"
#include "moehill/base/folder_fixture.h"

namespace moehill {
namespace {

Hardware two_cores() { return load_hardware("epyc-2-core"); }

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
