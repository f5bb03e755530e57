// How many waves there are: by the bytes between two devices, by their experts, and not too many.
#include "moehill/parallel/route_waves.h"

#include <gtest/gtest.h>

namespace moehill {
namespace {

int waves(MoeShape shape, int devices) {
  return default_waves({.shape = shape, .spread = Spread::fused, .num_devices = devices});
}

TEST(DefaultWaves, AreWorthAMessage) {
  const auto of_tokens = [](int64_t tokens) {
    return waves({tokens, 1024, 64, 64, 1, 0, DType::bf16},
                 2);  // half of T / 2 rows of 2 KiB go to the other
  };
  EXPECT_EQ(of_tokens(1), 1);
  EXPECT_EQ(of_tokens(1023), 1);
  EXPECT_EQ(of_tokens(1024), 2);
  EXPECT_EQ(of_tokens(2048), 4);
  EXPECT_EQ(of_tokens(int64_t{1} << 20), 8);
}

TEST(DefaultWaves, AreOfOneExpertAtLeast) {
  const auto of_experts = [](int experts, int devices) {
    return waves({1 << 20, 1024, 64, experts, 1, 0, DType::bf16}, devices);
  };
  EXPECT_EQ(of_experts(1, 2), 1);
  EXPECT_EQ(of_experts(3, 2), 2);
  EXPECT_EQ(of_experts(7, 9), 1);
  EXPECT_EQ(of_experts(12, 2), 6);
}

}  // namespace
}  // namespace moehill
