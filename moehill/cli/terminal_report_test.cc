// What is said before the runs.
#include "moehill/cli/terminal_report.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

Point point_of(int64_t experts, Pass pass) {
  Point point;
  point.config.shape = {16, 1024, 512, static_cast<int>(experts), 1, 0, DType::bf16};
  point.config.block.pass = pass;
  return point;
}

// 3 MiB of weights an expert.
TEST(TerminalReport, SaysWhichWeightsStayInTheCaches) {
  Environment environment;
  environment.topology.l3_bytes = 6 << 20;
  environment.topology.num_l3 = 2;
  const auto head = [&](const std::vector<Point>& points) {
    return describe_command(points, environment, {});
  };
  const auto has = [](const std::string& text, const char* part) {
    return text.find(part) != std::string::npos;
  };
  EXPECT_TRUE(has(head({point_of(4, Pass::forward)}), "all weights fit L3, 12 MiB"));
  EXPECT_FALSE(has(head({point_of(4, Pass::forward_backward)}), "L3")) << "gradients are as large again";
  EXPECT_TRUE(
      has(head({point_of(2, Pass::forward_backward), point_of(9, Pass::forward)}), "some points' weights"));
  environment.topology.l3_bytes = 0;
  EXPECT_FALSE(has(head({point_of(1, Pass::forward)}), "L3")) << "not known";
}

}  // namespace
}  // namespace moehill
