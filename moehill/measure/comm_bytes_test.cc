// Tests of the lower bound of traffic on a routing that is small enough to count by hand.
#include "moehill/measure/comm_bytes.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

TEST(CommBytes, CountsDistinctRemoteDevicesOfATokensKeptExperts) {
  // 4 tokens and 4 experts on 2 devices: tokens 0, 1 and experts 0, 1 on device 0.
  const Routing routing{4, 4, 2, {0, 1, 2, 3, 0, 2, 3, 2}, std::vector<float>(8, 0.5F)};
  BlockTensors tensors;
  tensors.shape = {4, 10, 3, 4, 2, 0, DType::bf16};
  tensors.routing = &routing;
  // token 0: none; token 1: device 1 once; token 2: device 0 once; token 3: none.
  EXPECT_EQ(comm_lower_bound_bytes(tensors, routing, Pass::forward, 2), 2 * 20 * 2);
  EXPECT_EQ(comm_lower_bound_bytes(tensors, routing, Pass::forward_backward, 2), 2 * 20 * 4);
  EXPECT_EQ(comm_lower_bound_bytes(tensors, routing, Pass::forward, 1), 0);
  const std::vector<int32_t> kept = {1, 1, 0, 0, 1, 1, 1, 1};
  tensors.kept = kept.data();
  EXPECT_EQ(comm_lower_bound_bytes(tensors, routing, Pass::forward, 2), 1 * 20 * 2) << "token 1 is dropped";
}

// There are four devices on two nodes. Each device has three rows for each other device.
TEST(CommBytes, LogicalRowsBetweenNodesAreOfTheWire) {
  PlanCounts counts;
  counts.num_devices = 4;
  counts.pairs.assign(16, 3);
  RunConfig config{.shape = {8, 130, 3, 4, 2, 0, DType::f32}, .ranks_per_node = 2, .num_devices = 4};
  const Nodes nodes = Nodes::of_size(4, 2);
  config.block.pass = Pass::forward;
  const LevelBytes native = logical_row_bytes(config, counts, nodes);
  EXPECT_EQ(native.node, 4 * 3 * 2 * 130 * 4);
  EXPECT_EQ(native.network, 8 * 3 * 2 * 130 * 4);
  config.wire = Wire::fp8_scales;
  EXPECT_EQ(logical_row_bytes(config, counts, nodes).node, native.node);
  EXPECT_EQ(logical_row_bytes(config, counts, nodes).network, 8 * 3 * (130 + 2 * 4 + 130 * 4));
  config.block.pass = Pass::forward_backward;
  EXPECT_EQ(logical_row_bytes(config, counts, nodes).network, 2 * 8 * 3 * (130 + 2 * 4 + 130 * 4));
}

TEST(CommBytes, DataParallelSumsEveryGradientOnce) {
  const MoeShape shape{4, 10, 3, 4, 2, 5, DType::bf16};
  EXPECT_EQ(data_parallel_lower_bound_bytes(shape, Pass::forward, 3), 0);
  EXPECT_EQ(data_parallel_lower_bound_bytes(shape, Pass::forward_backward, 3),
            2 * 2 * (3 * 10 * (12 + 5)) * 2);
  EXPECT_EQ(data_parallel_lower_bound_bytes(shape, Pass::forward_backward, 1), 0);
}

}  // namespace
}  // namespace moehill
