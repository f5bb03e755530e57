// Tests of the balance losses in a step: they pass the check and give equal bits at any number of devices.
#include <gtest/gtest.h>

#include "moehill/api/run_fixture.h"

namespace moehill {
namespace {

RunConfig balanced_config(Spread spread, int devices, bool in_step) {
  RunConfig config{.shape = {36, 45, 27, 7, 3, 0, DType::f32}};
  config.spread = spread;
  config.num_devices = devices;
  config.block.router_grad = true;
  config.block.route_in_step = in_step;
  config.block.balance_loss = parse_balance_loss("balance=0.02,sequence=0.01:4,z=0.001");
  return config;
}

using BalanceLossRunTest = RunFixture;

TEST_F(BalanceLossRunTest, IsInTheGradientOfTheLogits) {
  for (const bool in_step : {false, true}) {
    for (const int devices : {1, 2, 3, 4}) {
      std::vector<Spread> paths = {Spread::none};
      if (devices > 1) paths = {Spread::dp, Spread::ring_ag_rs, Spread::ragged_a2a, Spread::fused};
      if (devices > 1 && !in_step) paths.push_back(Spread::compact_psum);
      for (const Spread path : paths) {
        const auto run = step(balanced_config(path, devices, in_step));
        for (const CheckMode mode : {CheckMode::full, CheckMode::sample}) {
          const CheckResult result = check(run->tensors(), mode);
          EXPECT_TRUE(result.numbers_ok) << name_of(path) << " P=" << devices << ": " << result.reason;
        }
      }
    }
  }
}

// These are planted faults: a step without the loss, and one with half of it.
TEST_F(BalanceLossRunTest, TheCheckSeesALossThatIsLeftOut) {
  const auto run = step(balanced_config(Spread::fused, 2, true));
  BlockTensors tensors = run->tensors();
  for (const char* claimed : {"none", "balance=0.01,sequence=0.01:4,z=0.001",
                              "balance=0.02,sequence=0.01:6,z=0.001", "balance=0.02,sequence=0.01:4"}) {
    const BalanceLoss loss = parse_balance_loss(claimed);
    tensors.balance_loss = loss.empty() ? nullptr : &loss;
    EXPECT_FALSE(check(tensors, CheckMode::full).numbers_ok) << claimed;
    EXPECT_FALSE(check(tensors, CheckMode::sample).numbers_ok) << claimed;
  }
}

// The gate values' part of dlogits is the same on every path, wherever dp is computed; the loss's part is the
// difference between a step with the loss and one without.
TEST_F(BalanceLossRunTest, TheSameBitsAtAnyNumberOfDevices) {
  const auto dlogits_of = [&](int devices, bool with_loss) {
    RunConfig config = balanced_config(devices == 1 ? Spread::none : Spread::dp, devices, true);
    if (!with_loss) config.block.balance_loss = {};
    const auto run = step(config);
    const float* data = run->tensors().dlogits;
    return std::vector<float>(data, data + 36 * 7);
  };
  const std::vector<float> one = dlogits_of(1, true);
  EXPECT_NE(one, dlogits_of(1, false));
  for (const int devices : {2, 3, 4}) EXPECT_EQ(dlogits_of(devices, true), one) << devices;
}

}  // namespace
}  // namespace moehill
