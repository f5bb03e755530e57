// Computing only the largest normal numbers gives the numbers that computing all of them gives.
#include "moehill/routing/largest_normals.h"

#include <gtest/gtest.h>

#include <algorithm>
#include <cmath>
#include <functional>

namespace moehill {
namespace {

TEST(LargestNormals, AreThoseOfAll) {
  struct Case {
    int num, count;
  };
  for (const Case& c : {Case{256, 8}, Case{256, 1}, Case{60, 4}, Case{8, 2}, Case{9, 9}, Case{1, 1}}) {
    LargestNormals largest(c.num, c.count);
    std::vector<float> row(static_cast<size_t>(c.num)), all(row.size());
    int64_t num_left_out = 0;
    for (uint64_t token = 0; token < 3000; ++token) {
      const uint64_t first = token * row.size() + (uint64_t{1} << 32) - 1000;  // past 32 bits
      largest.fill(7, Stream::kLogits, first, row.data());
      for (size_t e = 0; e < all.size(); ++e) {
        all[e] = static_cast<float>(random_normal(7, Stream::kLogits, first + e));
        num_left_out += std::isinf(row[e]);
        ASSERT_TRUE(row[e] == all[e] || std::isinf(row[e]));
      }
      std::vector<float> expected = all;
      std::nth_element(expected.begin(), expected.begin() + c.count - 1, expected.end(), std::greater<>());
      const float least = expected[static_cast<size_t>(c.count - 1)];
      for (size_t e = 0; e < all.size(); ++e) ASSERT_TRUE(all[e] < least || row[e] == all[e]) << token;
    }
    EXPECT_GE(num_left_out, c.num == 256 ? 3000 * 256 * 2 / 3 : 0);
  }
}

}  // namespace
}  // namespace moehill
