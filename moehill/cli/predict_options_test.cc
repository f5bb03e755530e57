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

}  // namespace
}  // namespace moehill
