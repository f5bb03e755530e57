// Tests of the point that `moehill predict` and `roofline` describe: the machine has to have its devices.
#include "moehill/cli/predict_options.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"

namespace moehill {
namespace {

// Returns the refusal of the point, or "accepted".
std::string point_outcome(const std::string& hardware, int64_t devices, int64_t nodes) {
  PredictOptions options;
  options.hardware = hardware;
  options.bench.devices = devices;
  options.nodes = nodes;
  try {
    predicted_config(options, load_hardware(hardware == "probe" ? "epyc-2-core" : hardware),
                     ParallelMode::none);
    return "accepted";
  } catch (const InputError& error) {
    return error.what();
  }
}

TEST(PredictedConfig, NamedHardwareHasNoMoreThanItsDevices) {
  EXPECT_EQ(point_outcome("gb200-nvl64", 64, 0), "accepted");
  EXPECT_NE(point_outcome("gb200-nvl64", 512, 0).find("--devices: got 512, allowed: at most 64"),
            std::string::npos);
  EXPECT_EQ(point_outcome("tpu-v5p", 0, 2240), "accepted");
  EXPECT_NE(point_outcome("tpu-v5p", 0, 4096).find("--nodes: got 4096, allowed: at most 2240"),
            std::string::npos);
  EXPECT_EQ(point_outcome("epyc-cluster", 0, 1000), "accepted") << "its file has no limit";
}

TEST(PredictedConfig, DevicesOfThisMachineMayShareItsCores) {
  EXPECT_EQ(point_outcome("probe", 8, 0), "accepted");
  EXPECT_NE(point_outcome("epyc-2-core", 8, 0), "accepted");
}

// Such devices are on one node, and `none` beside them has no more threads than there are cores.
TEST(PredictedConfig, DevicesThatShareCoresAreOnOneNode) {
  PredictOptions options;
  options.bench.devices = 8;
  options.bench.threads_per_device = 2;
  const Hardware two_cores = load_hardware("epyc-2-core");
  const RunConfig ep = predicted_config(options, two_cores, ParallelMode::ep);
  EXPECT_EQ(ep.num_devices, 8);
  EXPECT_EQ(ep.threads_per_device, 2);
  EXPECT_EQ(ep.ranks_per_node, 0);
  EXPECT_EQ(predicted_config(options, two_cores, ParallelMode::none).threads_per_device, 2);
}

TEST(PredictedConfig, ANodeOfNamedHardwareHasNoMoreThanItsUnits) {
  const auto outcome_of = [](const std::string& hardware, int64_t devices, int64_t threads,
                             ParallelMode mode) {
    PredictOptions options;
    options.hardware = hardware;
    options.bench.devices = devices;
    options.bench.threads_per_device = threads;
    try {
      predicted_config(options, load_hardware(hardware), mode);
      return std::string("accepted");
    } catch (const InputError& error) {
      return std::string(error.what());
    }
  };
  // A node of epyc-cluster has 8 devices of 16 cores.
  EXPECT_EQ(outcome_of("epyc-cluster", 8, 16, ParallelMode::ep), "accepted");
  EXPECT_EQ(outcome_of("epyc-cluster", 2, 64, ParallelMode::ep), "accepted");
  EXPECT_EQ(outcome_of("epyc-cluster", 16, 16, ParallelMode::ep), "accepted");
  const std::string refused = outcome_of("epyc-cluster", 8, 17, ParallelMode::ep);
  EXPECT_NE(refused.find("--threads-per-device: got 17 for 8 devices of a node"), std::string::npos)
      << refused;
  EXPECT_NE(refused.find("128 cores a node of epyc-cluster"), std::string::npos) << refused;
  EXPECT_NE(outcome_of("epyc-cluster", 8, 17, ParallelMode::none), "accepted");
  EXPECT_NE(outcome_of("h100-node", 8, 2, ParallelMode::ep), "accepted");
  EXPECT_EQ(outcome_of("h100-node", 4, 2, ParallelMode::ep), "accepted");
}

}  // namespace
}  // namespace moehill
