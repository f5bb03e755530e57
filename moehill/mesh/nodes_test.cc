// Ranks are found by node and by their place in it, in whatever order a launcher has numbered them.
#include "moehill/mesh/nodes.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(Nodes, RanksThatTakeTurnsOnNodes) {
  const Nodes nodes({7, 3, 7, 3, 7});
  EXPECT_EQ(nodes.num(), 2);
  EXPECT_EQ(nodes.of(0), 0);
  EXPECT_EQ(nodes.of(3), 1);
  EXPECT_EQ(std::vector<int>(nodes.ranks_of(0).begin(), nodes.ranks_of(0).end()), (std::vector{0, 2, 4}));
  EXPECT_EQ(std::vector<int>(nodes.ranks_of(1).begin(), nodes.ranks_of(1).end()), (std::vector{1, 3}));
  EXPECT_EQ(nodes.most_ranks(), 3);
  EXPECT_EQ(nodes.place(4), 2);
  EXPECT_EQ(nodes.place(3), 1);
  EXPECT_EQ(nodes.landing_rank(4, 1), 1);
  EXPECT_EQ(nodes.landing_rank(3, 0), 2);
  for (int r = 0; r < 5; ++r) EXPECT_EQ(nodes.landing_rank(r, nodes.of(r)), r);
}

TEST(Nodes, NeighboursWithARestOnTheLastOne) {
  const Nodes nodes = Nodes::of_size(5, 2);
  EXPECT_EQ(nodes.num(), 3);
  EXPECT_EQ(nodes.of(3), 1);
  EXPECT_EQ(nodes.ranks_of(2).size(), 1u);
  EXPECT_EQ(Nodes::of_size(5, 0).num(), 1);
}

TEST(Nodes, ThatOfSizeDoesNotMakeAreIrregular) {
  const std::vector<int> uneven{0, 1, 1, 1}, turns{0, 1, 0, 1};
  EXPECT_EQ(Nodes(uneven).irregular(), uneven);
  EXPECT_EQ(Nodes(turns).irregular(), turns);
  EXPECT_EQ(Nodes({5, 3, 3, 3, 5}).irregular(), (std::vector{0, 1, 1, 1, 0}));
  for (const Nodes& regular :
       {Nodes(), Nodes({4, 4}), Nodes({0, 0, 0, 1}), Nodes({7, 7, 3, 3}), Nodes({0, 1})})
    EXPECT_TRUE(regular.irregular().empty());
}

TEST(Nodes, ElementsOfOtherNodesRanks) {
  const std::vector<int64_t> offsets{0, 1, 11, 111, 1111};
  EXPECT_EQ(Nodes({0, 0, 1, 0}).elsewhere(offsets, 0), 100);
  EXPECT_EQ(Nodes({0, 0, 1, 0}).elsewhere(offsets, 2), 1011);
  EXPECT_EQ(Nodes().elsewhere(offsets, 2), 0);
}

}  // namespace
}  // namespace moehill
