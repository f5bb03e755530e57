// Tests of clusters made of a hardware description: their network has its sizes, and they have no more
// devices than the description has room for.
#include "moehill/simulation/cluster.h"

#include <gtest/gtest.h>

#include "moehill/base/error.h"
#include "moehill/base/refusal_fixture.h"

namespace moehill {
namespace {

// Nodes of eight devices in a network of this kind.
Hardware nodes_of_eight(TopologyKind kind, std::vector<int> dims) {
  Hardware h = load_hardware("epyc-cluster");
  h.topology.kind = kind;
  h.topology.dims = std::move(dims);
  return h;
}

bool has_room(const Hardware& hardware, int num_devices) {
  try {
    make_cluster(hardware, num_devices, DType::bf16);
  } catch (const InputError& error) {
    EXPECT_TRUE(is_refusal(error.what())) << error.what();
    return false;
  }
  return true;
}

// max_devices cannot put more devices on a node than it has.
TEST(Cluster, OneNodeHasItsOwnDevicesAlone) {
  Hardware chips = load_hardware("gb200-nvl64");
  chips.topology.max_devices = 128;
  EXPECT_TRUE(has_room(chips, 64));
  EXPECT_FALSE(has_room(chips, 65));
  chips.topology.max_devices = 16;
  EXPECT_FALSE(has_room(chips, 17));
  Hardware torus = nodes_of_eight(TopologyKind::torus, {4, 4});
  torus.topology.levels.resize(1);
  torus.topology.max_devices = 16;
  EXPECT_TRUE(has_room(torus, 8));
  EXPECT_FALSE(has_room(torus, 9));
}

TEST(Cluster, ATorusHasTheExtentsOfTheFile) {
  const Hardware torus = nodes_of_eight(TopologyKind::torus, {2, 2, 3});
  EXPECT_EQ(torus_shape(make_cluster(torus, 8, DType::bf16)), (std::vector<int>{2, 2, 3}));
  EXPECT_TRUE(has_room(torus, 96));
  EXPECT_FALSE(has_room(torus, 97));
  EXPECT_EQ(torus_shape(make_cluster(nodes_of_eight(TopologyKind::torus, {}), 96, DType::bf16)),
            (std::vector<int>{2, 2, 3}));
}

TEST(Cluster, ADragonflyHasTheGroupsOfTheFile) {
  const Hardware fly = nodes_of_eight(TopologyKind::dragonfly, {2, 3, 4});
  const DragonflyShape shape = dragonfly_shape(make_cluster(fly, 8, DType::bf16));
  EXPECT_EQ((std::vector<int>{shape.groups, shape.chassis, shape.routers, shape.nodes}),
            (std::vector<int>{2, 1, 3, 4}));
  EXPECT_TRUE(has_room(fly, 192));
  EXPECT_FALSE(has_room(fly, 193));
  EXPECT_FALSE(has_room(nodes_of_eight(TopologyKind::dragonfly, {3, 2, 4}), 8)) << "SimGrid cannot join them";
}

TEST(Cluster, AFatTreeGrowsByLeaves) {
  const Hardware tree = nodes_of_eight(TopologyKind::fat_tree, {2, 5});
  const FatTreeShape shape = fat_tree_shape(make_cluster(tree, 1000, DType::bf16));
  EXPECT_EQ((std::vector<int>{shape.nodes_per_leaf, shape.num_leaves, shape.num_spines}),
            (std::vector<int>{2, 63, 5}));
}

// The file describes a host of four chips, and the number of chips that a pod has.
TEST(Cluster, APodHasItsHosts) {
  const Hardware pod = load_hardware("tpu-v5p");
  EXPECT_TRUE(has_room(pod, 8960));
  EXPECT_FALSE(has_room(pod, 8961));
}

}  // namespace
}  // namespace moehill
