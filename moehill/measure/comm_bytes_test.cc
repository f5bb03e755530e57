// The lower bound of traffic on a routing small enough to count by hand.
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

TEST(CommBytes, DataParallelSumsEveryGradientOnce) {
  const MoeShape shape{4, 10, 3, 4, 2, 5, DType::bf16};
  EXPECT_EQ(data_parallel_lower_bound_bytes(shape, Pass::forward, 3), 0);
  EXPECT_EQ(data_parallel_lower_bound_bytes(shape, Pass::forward_backward, 3),
            2 * 2 * (3 * 10 * (12 + 5)) * 2);
  EXPECT_EQ(data_parallel_lower_bound_bytes(shape, Pass::forward_backward, 1), 0);
}

}  // namespace
}  // namespace moehill
