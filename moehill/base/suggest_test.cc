// Tests the distance between two words, and the word that is suggested for a wrong one.
#include "moehill/base/suggest.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(Suggest, Distances) {
  EXPECT_EQ(edit_distance("", ""), 0);
  EXPECT_EQ(edit_distance("abc", ""), 3);
  EXPECT_EQ(edit_distance("", "ab"), 2);
  EXPECT_EQ(edit_distance("kitten", "sitting"), 3);
  EXPECT_EQ(edit_distance("tokens", "tokesn"), 1);
}

TEST(Suggest, NearestOrNothing) {
  const std::vector<std::string> names = {"--tokens", "--topk", "--topk-list", "--hidden"};
  EXPECT_EQ(nearest_name("--token", names), "--tokens");
  EXPECT_EQ(nearest_name("--top-k", names), "--topk");
  EXPECT_EQ(nearest_name("--hiden", names), "--hidden");
  EXPECT_EQ(nearest_name("--wholly-different", names), "");
  EXPECT_EQ(nearest_name(std::string(1 << 20, 'x'), names), "");
}

}  // namespace
}  // namespace moehill
