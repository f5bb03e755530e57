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

TEST(TerminalReport, SaysInWhichStateOfTheCachesStepsBegin) {
  EXPECT_NE(describe_command({point_of(4, Pass::forward)}, {}, {}).find("cold caches"), std::string::npos);
}

}  // namespace
}  // namespace moehill
