// Tests of the overlap's formula on made-up rounds, and of which points get parts.
#include "moehill/measure/overlap.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

Overlap of(double computation, double communication, double both) {
  const std::vector<double> a(5, computation), b(5, communication), c(5, both);
  return overlap_of(a, b, c);
}

TEST(Overlap, NothingHalfAndAllHidden) {
  EXPECT_NEAR(of(3, 2, 5).hidden.median, 0, 1e-12);
  EXPECT_NEAR(of(3, 2, 4).hidden.median, 0.5, 1e-12);
  EXPECT_NEAR(of(3, 2, 3).hidden.median, 1, 1e-12);
  EXPECT_NEAR(of(2, 3, 3.5).hidden.median, 0.75, 1e-12);
  EXPECT_NEAR(of(3, 2, 6).hidden.median, -0.5, 1e-12);
}

TEST(Overlap, IsByRounds) {
  const std::vector<double> a = {1, 10, 1}, b = {1, 10, 1}, c = {1, 10, 2};
  const Overlap o = overlap_of(a, b, c);
  EXPECT_EQ(o.hidden.median, 1);
  EXPECT_EQ(o.hidden.min, 0);
  EXPECT_EQ(o.hidden.n, 3);
}

TEST(Overlap, PartsStandBehindPointsOfSeveralDevices) {
  std::vector<Point> points(2);
  points[1].config.num_devices = 2;
  points[1].label = "ep";
  const std::vector<Point> all = with_parts(points);
  ASSERT_EQ(all.size(), 4u);
  EXPECT_EQ(all[1].config.block.part, StepPart::whole);
  EXPECT_EQ(all[2].config.block.part, StepPart::computation);
  EXPECT_EQ(all[3].config.block.part, StepPart::communication);
  EXPECT_EQ(all[3].label, "ep communication alone");
}

}  // namespace
}  // namespace moehill
