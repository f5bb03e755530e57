// Tests that the links of a job replace the links of threads, and that links between nodes become a level of
// the network.
#include "moehill/probe/probe_links.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

CollectiveCurve curve(Collective op, int devices, double seconds) {
  return {op, devices, {1e3, 1e9}, {seconds, seconds + 1}, DType::f32};
}

Hardware two_cores() {
  Hardware h = load_hardware("epyc-2-core");
  h.collectives = {curve(Collective::all_to_all, 2, 1e-6), curve(Collective::all_reduce, 4, 1e-6)};
  use_thread_links(4, h);
  return h;
}

TEST(ProbeLinks, WithoutAJobTheThreadsStay) {
  Hardware h = two_cores();
  use_job_links({}, h);
  EXPECT_EQ(h.collectives.size(), 2u);
  EXPECT_EQ(h.topology.kind, TopologyKind::node);
  EXPECT_EQ(h.topology.devices_per_node, 4);
  ASSERT_EQ(h.topology.levels.size(), 1u);
  EXPECT_DOUBLE_EQ(h.topology.levels[0].latency_s, 1e-6);
  EXPECT_DOUBLE_EQ(h.topology.levels[0].bytes_per_s, 1e9);
}

TEST(ProbeLinks, AJobOnOneNodeReplacesTheCurvesOfItsSize) {
  Hardware h = two_cores();
  use_job_links({2, 1, {curve(Collective::all_to_all, 2, 5e-6)}}, h);
  ASSERT_EQ(h.collectives.size(), 2u);
  EXPECT_EQ(h.collectives[0].devices, 4);
  EXPECT_DOUBLE_EQ(h.collectives[1].seconds.front(), 5e-6);
  EXPECT_EQ(h.topology.kind, TopologyKind::node);
}

// 6 processes are on 2 nodes. Three fifths of what a device sends to the 5 others leave the node, and a node
// has 3 devices.
TEST(ProbeLinks, NodesBecomeALevelAndTheFileIsReadAgain) {
  Hardware h = two_cores();
  use_job_links({6, 2, {curve(Collective::all_to_all, 6, 2e-5)}}, h);
  EXPECT_EQ(h.topology.devices_per_node, 3);
  ASSERT_EQ(h.topology.levels.size(), 2u);
  EXPECT_DOUBLE_EQ(h.topology.levels[1].latency_s, 2e-5);
  EXPECT_DOUBLE_EQ(h.topology.levels[1].bytes_per_s, 3 * 3.0 / 5 * 1e9);
  ASSERT_EQ(h.collectives.size(), 2u);  // that of 4 devices in one node is gone
  EXPECT_EQ(h.collectives[0].devices, 2);
  EXPECT_EQ(h.collectives[1].devices, 6);
  const Hardware again = read_hardware_text(hardware_toml(h, {}), "probe");
  EXPECT_EQ(again.topology.kind, TopologyKind::fat_tree);
  EXPECT_EQ(again.topology.dims, (std::vector<int>{2, 2}));
}

}  // namespace
}  // namespace moehill
