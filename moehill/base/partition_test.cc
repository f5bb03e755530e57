#include "moehill/base/partition.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(Share, SharesAreContiguousCoverAllAndDifferByAtMostOne) {
  for (int64_t n = 0; n < 40; ++n) {
    for (int64_t num_shares = 1; num_shares < 12; ++num_shares) {
      int64_t next = 0;
      for (int64_t i = 0; i < num_shares; ++i) {
        const Range range = share(n, i, num_shares);
        EXPECT_EQ(range.begin, next);
        EXPECT_GE(range.size(), n / num_shares);
        EXPECT_LE(range.size(), (n + num_shares - 1) / num_shares);
        next = range.end;
      }
      EXPECT_EQ(next, n);
    }
  }
}

}  // namespace
}  // namespace moehill
