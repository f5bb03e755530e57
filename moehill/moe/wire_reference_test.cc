// Compares rows that arrive by a wire with the table of all values of e4m3, and tests the properties that the
// check uses.
#include "moehill/moe/wire_reference.h"

#include <gtest/gtest.h>

#include <vector>

namespace moehill {
namespace {

// The values of e4m3 from 0 to 448.
std::vector<double> all_fp8() {
  std::vector<double> values;
  for (int code = 0; code < 0x7f; ++code) {
    const int exponent = code / 8, mantissa = code % 8;
    values.push_back(exponent == 0 ? mantissa * std::exp2(-9)
                                   : (1 + mantissa / 8.0) * std::exp2(exponent - 7));
  }
  return values;
}

TEST(WireReference, TakesTheNearestValueAndOfTwoTheEvenOne) {
  const std::vector<double> values = all_fp8();
  for (size_t i = 0; i + 1 < values.size(); ++i) {
    const float middle = static_cast<float>((values[i] + values[i + 1]) / 2);
    EXPECT_EQ(nearest_fp8(static_cast<float>(values[i])), values[i]);
    EXPECT_EQ(nearest_fp8(middle), values[i % 2 == 0 ? i : i + 1]) << i;
    EXPECT_EQ(nearest_fp8(std::nextafter(middle, 0.0f)), values[i]) << i;
    EXPECT_EQ(nearest_fp8(std::nextafter(middle, 500.0f)), values[i + 1]) << i;
  }
}

TEST(WireReference, ScalesAreTheSmallestPowersOfTwo) {
  for (int exponent = -160; exponent < 128; ++exponent) {
    for (const double mantissa : {1.0, 1.5, 1.75, 1.7500001, 1.99}) {
      const float largest = static_cast<float>(std::ldexp(mantissa, exponent));
      if (largest == 0) continue;
      const std::vector<float> block = {0, -largest, largest / 3};
      const float scale = fp8_scale(block);
      EXPECT_LE(largest / scale, 448) << exponent << " " << mantissa;
      EXPECT_TRUE(scale == 0x1p-117f || largest / scale > 224) << exponent << " " << mantissa;
      int ignored;
      EXPECT_EQ(std::frexp(scale, &ignored), 0.5f);
    }
  }
  EXPECT_EQ(fp8_scale(std::vector<float>{0, -0.0f}), 1);
  EXPECT_EQ(fp8_scale(std::vector<float>{2, std::numeric_limits<float>::infinity()}),
            fp8_scale(std::vector<float>{2}));
}

// A row that has arrived does not change if it is sent once more, and both storage types hold it exactly. So
// nothing is rounded after the wire.
TEST(WireReference, WhatArrivesIsExactInBothTypes) {
  std::vector<float> row;
  for (int i = 0; i < 300; ++i) row.push_back(static_cast<float>(std::sin(i) * std::exp2(i % 40 - 20)));
  for (const Wire wire : {Wire::bf16, Wire::fp8_scales}) {
    std::vector<float> once = row;
    pass_wire(wire, once);
    EXPECT_NE(once, row);
    for (const float v : once) EXPECT_EQ(to_f32(to_bf16(v)), v);
    std::vector<float> twice = once;
    pass_wire(wire, twice);
    EXPECT_EQ(twice, once) << name_of(wire);
  }
}

TEST(WireReference, NothingFiniteComesOfWhatIsNot) {
  std::vector<float> row = {1, std::numeric_limits<float>::infinity(), -0.0f,
                            std::numeric_limits<float>::quiet_NaN()};
  pass_wire(Wire::fp8_scales, row);
  EXPECT_EQ(row[0], 1);
  EXPECT_TRUE(std::isnan(row[1]) && std::isnan(row[3]));
  EXPECT_TRUE(row[2] == 0 && std::signbit(row[2]));
}

}  // namespace
}  // namespace moehill
