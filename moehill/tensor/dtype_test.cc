// Tests that f32 and bf16 are converted into each other, and that numbers are rounded to nearest, ties to
// even.
#include "moehill/tensor/dtype.h"

#include <gtest/gtest.h>

#include <cmath>
#include <limits>

#include "moehill/tensor/wire.h"

namespace moehill {
namespace {

uint16_t rounded(uint32_t bits) { return to_bf16(std::bit_cast<float>(bits)).bits; }

TEST(Bf16, RoundsToNearest) {
  EXPECT_EQ(rounded(0x3f800000), 0x3f80);  // 1
  EXPECT_EQ(rounded(0x3f807fff), 0x3f80);  // just below the middle
  EXPECT_EQ(rounded(0x3f808001), 0x3f81);  // just above
  EXPECT_EQ(rounded(0xbf808001), 0xbf81);
}

TEST(Bf16, TiesGoToTheEvenNeighbour) {
  EXPECT_EQ(rounded(0x3f808000), 0x3f80);
  EXPECT_EQ(rounded(0x3f818000), 0x3f82);
  EXPECT_EQ(rounded(0xbf808000), 0xbf80);
  EXPECT_EQ(rounded(0xbf818000), 0xbf82);
  EXPECT_EQ(rounded(0x3fff8000), 0x4000);  // the carry goes on into the exponent
}

TEST(Bf16, ZerosDenormalsAndTheLargestNumbers) {
  EXPECT_EQ(rounded(0x00000000), 0x0000);
  EXPECT_EQ(rounded(0x80000000), 0x8000);
  EXPECT_EQ(rounded(0x00000001), 0x0000);
  EXPECT_EQ(rounded(0x00008000), 0x0000);  // tie between 0 and the smallest denormal
  EXPECT_EQ(rounded(0x00008001), 0x0001);
  EXPECT_EQ(rounded(0x80018000), 0x8002);
  EXPECT_EQ(rounded(0x007fffff), 0x0080);  // the largest denormal becomes the smallest normal
  EXPECT_EQ(rounded(0x7f7f7fff), 0x7f7f);
  EXPECT_EQ(rounded(0x7f7f8000), 0x7f80);  // past the largest finite bf16 by half a step: infinite
  EXPECT_EQ(rounded(0xff7fffff), 0xff80);
}

TEST(Bf16, InfinitiesStayAndNansStayNans) {
  EXPECT_EQ(rounded(0x7f800000), 0x7f80);
  EXPECT_EQ(rounded(0xff800000), 0xff80);
  for (const uint32_t nan : {0x7fc00000u, 0x7f800001u, 0x7fffffffu, 0xff800001u, 0xffffffffu, 0x7f80ffffu}) {
    EXPECT_TRUE(std::isnan(to_f32(bf16{rounded(nan)}))) << std::hex << nan;
    EXPECT_EQ(rounded(nan) >> 15, nan >> 31) << std::hex << nan;
  }
}

TEST(Bf16, ANumberIsRoundedToTheTypeThatStoresIt) {
  EXPECT_EQ(rounded_to(DType::f32, 0.1f), 0.1f);
  EXPECT_EQ(rounded_to(DType::bf16, 0.1f), 0.10009765625f);
}

TEST(Bf16, EveryNumberSurvivesTheRoundTrip) {
  for (uint32_t bits = 0; bits <= 0xffff; ++bits) {
    const bf16 value{static_cast<uint16_t>(bits)};
    if (std::isnan(to_f32(value))) continue;
    ASSERT_EQ(to_bf16(to_f32(value)).bits, bits);
  }
}

// No other bf16 may be nearer, and of two that are equally near the even one must be taken: that defines
// rounding.
TEST(Bf16, AgreesWithTheDefinitionOnASweep) {
  for (uint64_t step = 0x00000123; step < 0x7f000000; step += 0x00034567) {
    const uint32_t bits = static_cast<uint32_t>(step);
    const double exact = std::bit_cast<float>(bits);
    const uint16_t below = static_cast<uint16_t>(bits >> 16);
    const double down = exact - static_cast<double>(to_f32(bf16{below}));
    const double up = static_cast<double>(to_f32(bf16{static_cast<uint16_t>(below + 1)})) - exact;
    const bool take_down = down < up || (down == up && below % 2 == 0);
    ASSERT_EQ(rounded(bits), take_down ? below : below + 1) << std::hex << bits;
  }
}

TEST(DType, NamesAndSizes) {
  EXPECT_EQ(dtype_bytes(DType::f32), sizeof(float));
  EXPECT_EQ(dtype_bytes(DType::bf16), sizeof(bf16));
  EXPECT_STREQ(dtype_name(DType::f32), "f32");
  EXPECT_STREQ(dtype_name(DType::bf16), "bf16");
  EXPECT_EQ(dtype_of<float>, DType::f32);
  EXPECT_EQ(dtype_of<bf16>, DType::bf16);
  EXPECT_EQ(from_f32<float>(0.1f), 0.1f);
  EXPECT_EQ(from_f32<bf16>(0.1f).bits, to_bf16(0.1f).bits);
}

// The first number is the one of DeepEP: 7168 values and 56 scales.
TEST(Wire, BytesOfARow) {
  EXPECT_EQ(wire_row_bytes(Wire::fp8_scales, 7168, DType::bf16), 7392);
  EXPECT_EQ(wire_row_bytes(Wire::fp8_scales, 129, DType::f32), 129 + 2 * 4);
  EXPECT_EQ(wire_row_bytes(Wire::fp8_scales, 1, DType::f32), 5);
  EXPECT_EQ(wire_row_bytes(Wire::bf16, 45, DType::f32), 90);
  EXPECT_EQ(wire_row_bytes(Wire::native, 45, DType::bf16), 90);
  EXPECT_EQ(wire_row_bytes(Wire::native, 45, DType::f32), 180);
}

}  // namespace
}  // namespace moehill
