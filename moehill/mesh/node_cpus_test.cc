#include "moehill/mesh/node_cpus.h"

#include <gtest/gtest.h>

#include "moehill/machine/pinning.h"

namespace moehill {
namespace {

using Cpus = std::vector<std::vector<int>>;

TEST(NodeCpus, ProcessesWithTheSameMaskGetNeighbours) {
  const Cpus all(2, {0, 2, 4, 6, 8});
  EXPECT_EQ(share_cpus(all, 2), (Cpus{{0, 2}, {4, 6}}));
  EXPECT_EQ(share_cpus(all, 1), (Cpus{{0}, {2}}));
  EXPECT_EQ(share_cpus(all, 3), Cpus{});
  EXPECT_EQ(fair_threads(all), 2);
}

// Each socket has two processes, bound to the whole socket, so the masks are equal in pairs.
TEST(NodeCpus, EqualMasksAreSharedWhereverTheyAre) {
  const Cpus sockets = {{0, 1, 2, 3}, {0, 1, 2, 3}, {4, 5, 6, 7}, {4, 5, 6, 7}};
  EXPECT_EQ(share_cpus(sockets, 2), (Cpus{{0, 1}, {2, 3}, {4, 5}, {6, 7}}));
  EXPECT_EQ(fair_threads(sockets), 2);
  const Cpus cyclic = {{0, 1, 2, 3}, {4, 5, 6, 7}, {0, 1, 2, 3}, {4, 5, 6, 7}};
  EXPECT_EQ(share_cpus(cyclic, 2), (Cpus{{0, 1}, {4, 5}, {2, 3}, {6, 7}}));
}

TEST(NodeCpus, AProcessMakesRoomForOneThatHasNoOtherCpu) {
  EXPECT_EQ(share_cpus({{0, 1, 2}, {0}, {0, 1}}, 1), (Cpus{{2}, {0}, {1}}));
  EXPECT_EQ(share_cpus({{0, 1}, {0}, {1}}, 1), Cpus{});
  EXPECT_EQ(fair_threads({{0, 1, 2, 3}, {0}}), 1);
}

TEST(NodeCpus, ProcessesBoundToTheSameCoreShareIt) {
  EXPECT_EQ(share_cpus({{3}, {3}}, 1), Cpus{});
  EXPECT_EQ(fair_threads({{3}, {3}}), 1);
}

TEST(NodeCpus, UnderAQuotaNobodyIsHeld) {
  const Cpus quota(2, std::vector<int>(4, kAnyCpu));
  EXPECT_EQ(share_cpus(quota, 2), Cpus(2, {kAnyCpu, kAnyCpu}));
  EXPECT_EQ(share_cpus(quota, 3), Cpus{});
  EXPECT_EQ(fair_threads(quota), 2);
}

TEST(NodeCpus, NoCpusAreNotEnough) { EXPECT_EQ(share_cpus({{}, {}}, 1), Cpus{}); }

}  // namespace
}  // namespace moehill
