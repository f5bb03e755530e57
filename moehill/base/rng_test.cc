#include "moehill/base/rng.h"

#include <gtest/gtest.h>

#include <set>

namespace moehill {
namespace {

using Words = std::array<uint32_t, 2>;

// Known answers of Threefry-2x32 with 20 rounds: the vectors that come with Random123, by the authors of the
// SC11 paper.
TEST(Threefry, GivesTheKnownAnswers) {
  EXPECT_EQ(threefry(0, static_cast<Stream>(0), 0), (Words{0x6b200159, 0x99ba4efe}));
  EXPECT_EQ(threefry(0xffffffff, static_cast<Stream>(0xffffffff), 0xffffffffffffffff),
            (Words{0x1cb996fc, 0xbb002be7}));
  EXPECT_EQ(threefry(0x13198a2e, static_cast<Stream>(0x03707344), 0x85a308d3243f6a88),
            (Words{0xc4923a9c, 0x483df7a0}));
}

TEST(Threefry, SeedStreamAndEveryHalfOfTheCounterMatter) {
  const std::set<Words> words = {threefry(0, Stream::kX, 0), threefry(1, Stream::kX, 0),
                                 threefry(0, Stream::kW1, 0), threefry(0, Stream::kX, 1),
                                 threefry(0, Stream::kX, uint64_t{1} << 32)};
  EXPECT_EQ(words.size(), 5u);
}

TEST(Uniform, NeverReachesItsEnds) {
  EXPECT_GT(uniform_from_bits(0), 0.0);
  EXPECT_LT(uniform_from_bits(0xffffffff), 1.0);
  EXPECT_EQ(uniform_from_bits(0) + uniform_from_bits(0xffffffff), 1.0);
  // This holds as f32 too, where a value of 1 would make log(1 - u) infinite.
  EXPECT_GT(static_cast<float>(uniform_from_bits(0)), 0.0f);
  EXPECT_LT(static_cast<float>(uniform_from_bits(0xffffffff)), 1.0f);
}

// n values have a mean within 5 standard errors; the seed is fixed, so the test always gives the same result.
TEST(Uniform, HasTheMomentsOfAUniform) {
  constexpr int kN = 100000;
  double sum = 0, sum_squares = 0;
  for (uint64_t i = 0; i < kN; ++i) {
    const double u = random_uniform(7, Stream::kRunLengths, i);
    sum += u;
    sum_squares += u * u;
  }
  EXPECT_NEAR(sum / kN, 0.5, 5 * 0.2887 / std::sqrt(kN));
  EXPECT_NEAR(sum_squares / kN, 1.0 / 3, 5 * 0.2981 / std::sqrt(kN));
}

TEST(Normal, HasTheMomentsOfANormal) {
  constexpr int kN = 100000;
  double moments[5] = {};
  for (uint64_t i = 0; i < kN; ++i) {
    const double z = random_normal(7, Stream::kX, i);
    ASSERT_TRUE(std::isfinite(z));
    double power = 1;
    for (double& moment : moments) {
      moment += power / kN;
      power *= z;
    }
  }
  // Standard errors: the variances of z, z^2, z^3 and z^4 are 1, 2, 15 and 96.
  EXPECT_NEAR(moments[1], 0, 5 * std::sqrt(1.0 / kN));
  EXPECT_NEAR(moments[2], 1, 5 * std::sqrt(2.0 / kN));
  EXPECT_NEAR(moments[3], 0, 5 * std::sqrt(15.0 / kN));
  EXPECT_NEAR(moments[4], 3, 5 * std::sqrt(96.0 / kN));
}

TEST(Normal, StreamsAreNotCorrelated) {
  constexpr int kN = 100000;
  double product = 0, neighbours = 0;
  for (uint64_t i = 0; i < kN; ++i) {
    product += random_normal(7, Stream::kX, i) * random_normal(7, Stream::kW1, i) / kN;
    neighbours += random_normal(7, Stream::kX, i) * random_normal(7, Stream::kX, i + 1) / kN;
  }
  EXPECT_NEAR(product, 0, 5 / std::sqrt(kN));
  EXPECT_NEAR(neighbours, 0, 5 / std::sqrt(kN));
}

}  // namespace
}  // namespace moehill
