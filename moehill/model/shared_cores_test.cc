// Tests of hardware whose cores several devices share.
#include "moehill/model/shared_cores.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(SharedCores, EveryRateIsAShareOfACore) {
  const Hardware whole = load_hardware("epyc-2-core"), same = with_shared_cores(whole, 2, 1),
                 half = with_shared_cores(whole, 4, 1);
  EXPECT_EQ(same.peak_bf16, whole.peak_bf16);
  EXPECT_EQ(same.topology.devices_per_node, 2);
  EXPECT_DOUBLE_EQ(half.peak_bf16, whole.peak_bf16 / 2);
  EXPECT_DOUBLE_EQ(half.rows.combine, whole.rows.combine / 2);
  EXPECT_DOUBLE_EQ(half.stage_s, whole.stage_s * 2);
  EXPECT_EQ(half.topology.devices_per_node, 4);
  EXPECT_DOUBLE_EQ(half.node_memory_bytes_per_s, whole.node_memory_bytes_per_s);
}

TEST(SharedCores, NodesOfAClusterAreLeftAlone) {
  const Hardware cluster = load_hardware("epyc-cluster");
  EXPECT_EQ(with_shared_cores(cluster, 1024, cluster.units_per_device).peak_bf16, cluster.peak_bf16);
}

}  // namespace
}  // namespace moehill
