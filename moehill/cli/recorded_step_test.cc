// Records: the step that a record describes has the routing that was measured.
#include "moehill/cli/recorded_step.h"

#include <gtest/gtest.h>

#include <filesystem>
#include <fstream>

#include "moehill/cli/bench_options.h"
#include "moehill/measure/points.h"
#include "moehill/predict/prediction.h"
#include "moehill/record/record.h"

namespace moehill {
namespace {

using Json = nlohmann::ordered_json;

Json record_of(const BenchOptions& options, const Point& point) {
  return {{"command", "bench"},
          {"config", config_json(options, point)},
          {"layout",
           {{"devices", point.config.num_devices}, {"threads_per_device", point.config.threads_per_device}}},
          {"time_s", {{"median", 0.5}}},
          {"peak", {{"tflops_measured", nullptr}, {"read_gbps", nullptr}}},
          {"stages", {{"forward", Json::object()}, {"backward", Json::object()}}}};
}

// Of `none`, the devices that a distribution is hot or balanced over are not those of its own layout.
TEST(RecordedStep, HasTheRoutingOfTheRecord) {
  const std::string path = testing::TempDir() + "recorded_step.jsonl";
  for (const char* distribution : {"runs", "hot-device:0.7", "balanced", "zipf:1.1"}) {
    const auto options = parse_bench_options({"--tokens", "96", "--hidden", "32", "--mlp-dim", "16",
                                              "--experts", "8", "--topk", "2", "--distribution", distribution,
                                              "--parallel-mode", "both", "--devices", "4", "--seed", "7"});
    const std::vector<Point> points = expand_points(*options, 4);
    std::ofstream file(path);
    for (const Point& point : points) file << record_of(*options, point).dump() << "\n";
    file.close();
    const std::vector<RecordedStep> steps = steps_of_records(path);
    ASSERT_EQ(steps.size(), points.size()) << distribution;
    for (size_t i = 0; i < steps.size(); ++i) {
      const Routing measured = routing_of(points[i].config.shape, points[i].distribution, options->seed);
      EXPECT_EQ(steps[i].routing.expert, measured.expert) << distribution << ", " << points[i].label;
      EXPECT_EQ(steps[i].config.num_devices, points[i].config.num_devices) << distribution;
    }
  }
  std::filesystem::remove(path);
}

TEST(RecordedStep, HasThePeakOfItsDtypeWithItsInstructionAndTheBandwidth) {
  const std::string path = testing::TempDir() + "recorded_peak.jsonl";
  const auto options = parse_bench_options({"--tokens", "96", "--hidden", "32", "--mlp-dim", "16",
                                            "--experts", "8", "--topk", "2", "--threads-per-device", "2"});
  Json record = record_of(*options, expand_points(*options, 2).front());
  const auto read = [&] {
    std::ofstream(path) << record.dump() << "\n";
    return steps_of_records(path).front();
  };
  record["peak"] = {{"dtype", "bf16"},
                    {"instruction", "dot"},
                    {"tflops_measured", 1.5},
                    {"read_gbps", {{"median", 40}, {"min", 38}, {"max", 44}}}};
  EXPECT_EQ(read().peak_flops, 1.5e12);
  EXPECT_EQ(read().instruction, "dot");
  EXPECT_EQ(read().read_bytes_per_s, 40e9);
  record["peak"] = {{"tflops_measured", 1.5}, {"read_gbps", 41}};  // before 2026-11-28
  EXPECT_EQ(read().peak_flops, 1.5e12);
  EXPECT_EQ(read().instruction, "");
  EXPECT_EQ(read().read_bytes_per_s, 41e9);
  std::filesystem::remove(path);
}

}  // namespace
}  // namespace moehill
