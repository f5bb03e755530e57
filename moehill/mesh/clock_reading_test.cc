// Translates times of a clock that starts elsewhere and runs faster into times of the first one.
#include "moehill/mesh/clock_reading.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(ClockReading, DriftsEvenlyBetweenReadings) {
  // The other clock shows 1000 + 1.001 t where the first shows t.
  const auto other = [](double t) { return 1000 + 1.001 * t; };
  const ClockReading before{other(10), 10 - other(10), 0}, after{other(20), 20 - other(20), 0};
  for (const double t : {10.0, 12.5, 20.0, 21.0})
    EXPECT_NEAR(on_first_clock(other(t), before, after), t, 1e-9);
}

TEST(ClockReading, OneReadingIsAnOffset) {
  const ClockReading only{5, 2, 0};
  EXPECT_EQ(on_first_clock(7, only, only), 9);
}

}  // namespace
}  // namespace moehill
