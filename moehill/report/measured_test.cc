// Tests of the figures of all rounds together, and of records that have none.
#include "moehill/report/measured.h"

#include <gtest/gtest.h>

#include "moehill/report/report_fixture.h"

namespace moehill {
namespace {

// A database written by another program may contain a throughput for such a step.
TEST(Measured, StepsThatLeftStagesOutAreNoResults) {
  StoredRecord whole{.round = 0, .json = block_record("none", 2, 1.0)}, arm = whole;
  arm.json["ablated"] = {"shared"};
  arm.json["tflops"] = 1000;
  const std::vector<Measured> measured = measure({arm, whole});
  ASSERT_EQ(measured.size(), 1u);
  EXPECT_EQ(measured[0].tflops, std::vector<double>{2});
  EXPECT_TRUE(measure({arm}).empty());
}

}  // namespace
}  // namespace moehill
